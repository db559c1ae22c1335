"""One ONNX file, opened with ONNX Runtime: what goes in, what comes out, and every failure as one ModelError."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from spoton.errors import ModelError

_INPUT_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_ERRORS_ONLY = 3
_LARGEST_BATCH = 16


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

    threads: of ONNX Runtime inside one operator; None takes two, or one on a single core.

    Raises ModelError when the file is missing, damaged, or has another kind of input.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.path = path
        self.session = _open(path, threads or min(2, os.cpu_count() or 1))
        self.inputs = tuple(_port(node) for node in self.session.get_inputs())
        self.outputs = tuple(_port(node) for node in self.session.get_outputs())
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
        if len(self.inputs) != 1 or len(self.inputs[0].shape) != 4 or self.inputs[0].shape[1] not in (3, None):
            raise self.unknown("one input of shape (batch, 3, height, width) is needed")
        if self.inputs[0].kind not in _INPUT_TYPES:
            raise self.unknown(f"an input of type {self.inputs[0].kind} cannot be fed")
        self._dtype = _INPUT_TYPES[self.inputs[0].kind]

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

    def run(self, pictures: NDArray[Any]) -> list[NDArray[np.float32]]:
        """All outputs for (N, 3, H, W), rows in order; float32.

        A graph whose batch side is fixed is run as often as needed, with blank pictures to fill the last run.
        Raises ModelError when the graph fails or an output is not finite.
        """
        step = self.batch or _LARGEST_BATCH
        runs = [self._run(pictures[start : start + step]) for start in range(0, len(pictures), step)]
        return runs[0] if len(runs) == 1 else [np.concatenate(parts) for parts in zip(*runs, strict=True)]

    def _run(self, pictures: NDArray[Any]) -> list[NDArray[np.float32]]:
        count = len(pictures)
        if self.batch is not None and count < self.batch:
            blank = np.zeros((self.batch - count, *pictures.shape[1:]), dtype=pictures.dtype)
            pictures = np.concatenate([pictures, blank])
        feed = {self.inputs[0].name: np.ascontiguousarray(pictures, dtype=self._dtype)}
        try:
            outputs = self.session.run(None, feed)
        except Exception as error:
            raise ModelError(
                f"{self.path}: the graph failed on input {list(pictures.shape)}: {_first_line(error)}",
                remedy="choose other weights",
            ) from error
        arrays = [np.asarray(output, dtype=np.float32) for output in outputs]
        for port, array in zip(self.outputs, arrays, strict=True):
            if not np.isfinite(array).all():
                raise ModelError(
                    f"{self.path}: output {port.name} holds NaN or infinity",
                    remedy="the weights are damaged or badly quantised; pull or export them again",
                )
            if array.ndim == 0 or len(array) != len(pictures):
                raise self.unknown(f"output {port.name} has shape {list(array.shape)} for {len(pictures)} pictures")
        return [array[:count] for array in arrays]


def _open(path: Path, threads: int) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file", remedy="check the path, or run `spoton models list`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait by spinning take a core from everything else that runs beside the network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"{path}: not a readable ONNX graph ({path.stat().st_size} bytes): {_first_line(error)}",
            remedy="the file may be cut short; pull or export it again",
        ) from error


def _port(node: Any) -> Port:
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in node.shape)
    return Port(node.name, shape, node.type)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
