"""Runs of an ONNX Runtime session on buffers that stay where they are, as CUDA graphs need it.

A CUDA graph replays what was launched once, on the same addresses and shapes (onnxruntime.ai, "Using CUDA Graphs"). So
each batch size that occurs, rounded up to a power of two, has input and output buffers of its own on the device, pinned
memory on the host that the input is copied from, and a graph of its own (``gpu_graph_id``).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from spoton.vision.pinned import pinned

_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}
_NOT_CAPTURED = "-1"


@dataclass(slots=True)
class _Bound:
    """One batch size: what is bound, and its host side."""

    binding: Any
    host: NDArray[Any]
    device: Any
    outputs: list[Any]
    options: Any


class BoundRuns:
    """One session's runs on bound buffers; one at a time.

    device: ``cuda``, or ``cpu``, where the same is done without graphs and pinned memory. number: of the GPU.
    """

    def __init__(self, session: onnxruntime.InferenceSession, device: str, number: int = 0) -> None:
        self._session = session
        self._device = device
        self._number = number
        self._input = session.get_inputs()[0]
        self._outputs = session.get_outputs()
        self._bound: dict[tuple[int, ...], _Bound] = {}
        self._lock = threading.Lock()

    def run(self, pictures: NDArray[Any]) -> list[NDArray[Any]]:
        """All outputs for (N, 3, H, W), rows in order; the arrays are the caller's. Raises what ONNX Runtime raises."""
        with self._lock:
            count = len(pictures)
            batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else _power_of_two(count)
            shape = (max(batch, count), *pictures.shape[1:])
            bound = self._bound.get(shape)
            if bound is None:
                bound = self._bound[shape] = self._bind(shape, pictures.dtype)
            bound.host[:count] = pictures
            bound.device.update_inplace(bound.host)
            self._session.run_with_iobinding(bound.binding, bound.options)
            return [output.numpy()[:count].copy() for output in bound.outputs]

    def _bind(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Bound:
        host = pinned(shape, dtype) if self._device == "cuda" else np.zeros(shape, dtype)
        device = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._device, self._number)
        device.update_inplace(host)
        first = self._session.io_binding()
        first.bind_ortvalue_input(self._input.name, device)
        for output in self._outputs:
            first.bind_output(output.name, self._device, self._number)
        # Uncaptured, to learn the shapes of the outputs; ONNX Runtime chooses where they lie.
        self._session.run_with_iobinding(first, self._options(_NOT_CAPTURED))
        found = first.get_outputs()
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input.name, device)
        outputs = []
        for output, value in zip(self._outputs, found, strict=True):
            room = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                value.shape(), _TYPES[output.type], self._device, self._number
            )
            binding.bind_ortvalue_output(output.name, room)
            outputs.append(room)
        return _Bound(binding, host, device, outputs, self._options(str(len(self._bound) + 1)))

    def _options(self, graph: str) -> Any:
        options = onnxruntime.RunOptions()
        if self._device == "cuda":
            options.add_run_config_entry("gpu_graph_id", graph)
        return options


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
