"""One ONNX file, opened with ONNX Runtime: what goes in, what comes out, and every failure as one ModelError."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton.errors import ModelError
from spoton.vision import providers
from spoton.vision.bound_run import BoundRuns
from spoton.vision.halving import BatchLimit, out_of_memory
from spoton.vision.inference import Inference

_INPUT_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a graph; a side that may vary is None."""

    name: str
    shape: tuple[int | None, ...]
    kind: str

    def __str__(self) -> str:
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name} [{sides}] {self.kind.removeprefix('tensor(').removesuffix(')')}"


class Graph:
    """A picture network: one input of shape (batch, 3, height, width), any outputs.

    threads: of ONNX Runtime inside one operator; None takes what ``inference`` says, which is two by default, or one on
    a single core. inference: device, provider, memory and batch.

    Raises ModelError when the file is missing, damaged, or has another kind of input, or when the device that was asked
    for cannot be used.
    """

    def __init__(self, path: Path, *, threads: int | None = None, inference: Inference | None = None) -> None:
        self.path = path
        inference = inference or Inference()
        if threads is not None:
            inference = dataclasses.replace(inference, threads=threads)
        self.session = _open(path, inference)
        self.provider: str = self.session.get_providers()[0]
        self.inputs = tuple(_port(node) for node in self.session.get_inputs())
        self.outputs = tuple(_port(node) for node in self.session.get_outputs())
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
        if len(self.inputs) != 1 or len(self.inputs[0].shape) != 4 or self.inputs[0].shape[1] not in (3, None):
            raise self.unknown("one input of shape (batch, 3, height, width) is needed")
        if self.inputs[0].kind not in _INPUT_TYPES:
            raise self.unknown(f"an input of type {self.inputs[0].kind} cannot be fed")
        self._dtype = _INPUT_TYPES[self.inputs[0].kind]
        self.limit = BatchLimit(path.name, self.batch or inference.batch_max)
        self.on_gpu = self.provider in (providers.CUDA, providers.TENSORRT)
        self._bound = BoundRuns(self.session, "cuda", inference.gpu) if self.on_gpu else None

    @property
    def batch(self) -> int | None:
        """Pictures that one run takes; None when the graph leaves it open."""
        return self.inputs[0].shape[0]

    @property
    def height_width(self) -> tuple[int | None, int | None]:
        """Input height and width in pixels; None where the graph leaves it open."""
        return self.inputs[0].shape[2], self.inputs[0].shape[3]

    def unknown(self, problem: str) -> ModelError:
        """An error for a graph that cannot be used, listing what was found in it."""
        found = "; ".join(
            f"{side}: " + ", ".join(map(str, ports))
            for side, ports in (("inputs", self.inputs), ("outputs", self.outputs))
        )
        return ModelError(
            f"{self.path}: {problem} (found {found})",
            remedy=f"describe the graph in {self.path.with_suffix('.toml').name} beside it, or choose other weights",
        )

    def run(self, pictures: Any) -> list[NDArray[np.float32]]:
        """All outputs for (N, 3, H, W), rows in order; float32. On a GPU the pictures may be a PyTorch tensor there.

        A graph whose batch side is fixed is run as often as needed, with blank pictures to fill the last run; a batch
        that does not fit into memory is halved. Raises ModelError when the graph fails, when an output is not finite,
        or when there is no memory for a single picture.
        """
        runs = self.limit.run(lambda start, end: self._run(pictures[start:end]), len(pictures))
        return runs[0] if len(runs) == 1 else [np.concatenate(parts) for parts in zip(*runs, strict=True)]

    def _run(self, pictures: Any) -> list[NDArray[np.float32]]:
        count, on_host = len(pictures), isinstance(pictures, np.ndarray)
        if on_host and self.batch is not None and count < self.batch:
            blank = np.zeros((self.batch - count, *pictures.shape[1:]), dtype=pictures.dtype)
            pictures = np.concatenate([pictures, blank])
        try:
            feed = np.ascontiguousarray(pictures, dtype=self._dtype) if on_host else self._cast(pictures)
            if self._bound is not None:
                outputs = self._bound.run(feed)
            else:
                outputs = self.session.run(None, {self.inputs[0].name: feed})
        except Exception as error:
            if out_of_memory(error) and self.batch is None:
                raise
            raise ModelError(
                f"{self.path}: the graph failed on input {list(pictures.shape)}: {providers.first_line(error)}",
                remedy="choose other weights",
            ) from error
        return [
            self._checked(port, output, count, len(pictures))
            for port, output in zip(self.outputs, outputs, strict=True)
        ]

    def _cast(self, pictures: Any) -> Any:
        return pictures.half() if self._dtype is np.float16 else pictures

    def _checked(self, port: Port, output: NDArray[Any], count: int, pictures: int) -> NDArray[np.float32]:
        array = np.asarray(output, dtype=np.float32)
        if not np.isfinite(array).all():
            raise ModelError(
                f"{self.path}: output {port.name} holds NaN or infinity",
                remedy="the weights are damaged or badly quantised; pull or export them again",
            )
        if array.ndim == 0 or len(array) != pictures:
            raise self.unknown(f"output {port.name} has shape {list(array.shape)} for {pictures} pictures")
        return array[:count]


def _open(path: Path, inference: Inference) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file", remedy="check the path, or run `spoton models list`")
    try:
        return providers.open_session(path, inference)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path}: not a readable ONNX graph ({path.stat().st_size} bytes): {providers.first_line(error)}",
            remedy="the file may be cut short; pull or export it again",
        ) from error


def _port(node: Any) -> Port:
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in node.shape)
    return Port(node.name, shape, node.type)
