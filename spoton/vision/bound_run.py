"""Runs of an ONNX Runtime session on buffers that stay where they are, as CUDA graphs need it.

A CUDA graph replays what was launched once, on the same addresses and shapes (onnxruntime.ai, "Using CUDA Graphs"). So
each batch size that occurs, rounded up to a power of two, has input and output buffers of its own on the device, pinned
memory on the host that the input is copied from, and a graph of its own (``gpu_graph_id``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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
_Bind = Callable[[Any], None]
_Fill = Callable[[Any], None]


@dataclass(slots=True)
class _Bound:
    """One batch size: what is bound, and how its input is filled."""

    binding: Any
    fill: Callable[[Any], None]
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
        self._bound: dict[tuple[object, ...], _Bound] = {}
        self._lock = threading.Lock()

    def run(self, pictures: Any) -> list[NDArray[Any]]:
        """All outputs for (N, 3, H, W), rows in order; the arrays are the caller's.

        pictures: a NumPy array, or a PyTorch tensor on this device. Raises what ONNX Runtime raises.
        """
        with self._lock:
            count = len(pictures)
            batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else _power_of_two(count)
            shape = (max(batch, count), *pictures.shape[1:])
            key = (type(pictures), *shape)
            bound = self._bound.get(key)
            if bound is None:
                bound = self._bound[key] = self._bind(shape, pictures)
            bound.fill(pictures)
            self._session.run_with_iobinding(bound.binding, bound.options)
            return [output.numpy()[:count].copy() for output in bound.outputs]

    def _bind(self, shape: tuple[int, ...], pictures: Any) -> _Bound:
        bind, fill = self._array(shape, pictures) if isinstance(pictures, np.ndarray) else self._tensor(shape, pictures)
        first = self._session.io_binding()
        bind(first)
        for output in self._outputs:
            first.bind_output(output.name, self._device, self._number)
        # Uncaptured, to learn the shapes of the outputs; ONNX Runtime chooses where they lie.
        self._session.run_with_iobinding(first, self._options(_NOT_CAPTURED))
        found = first.get_outputs()
        binding = self._session.io_binding()
        bind(binding)
        outputs = []
        for output, value in zip(self._outputs, found, strict=True):
            room = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                value.shape(), _TYPES[output.type], self._device, self._number
            )
            binding.bind_ortvalue_output(output.name, room)
            outputs.append(room)
        return _Bound(binding, fill, outputs, self._options(str(len(self._bound) + 1)))

    def _array(self, shape: tuple[int, ...], pictures: NDArray[Any]) -> tuple[_Bind, _Fill]:
        """An input that is copied from the host."""
        dtype = pictures.dtype
        host = pinned(shape, dtype) if self._device == "cuda" else np.zeros(shape, dtype)
        device = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._device, self._number)
        device.update_inplace(host)

        def fill(given: NDArray[Any]) -> None:
            host[: len(given)] = given
            device.update_inplace(host)

        return lambda binding: binding.bind_ortvalue_input(self._input.name, device), fill

    def _tensor(self, shape: tuple[int, ...], pictures: Any) -> tuple[_Bind, _Fill]:
        """An input that PyTorch has on the device already."""
        import torch

        still = torch.zeros(shape, dtype=pictures.dtype, device=pictures.device)

        def fill(given: Any) -> None:
            still[: len(given)].copy_(given)
            if still.is_cuda:
                # ONNX Runtime reads it on a stream of its own.
                torch.cuda.current_stream().synchronize()

        def bind(binding: Any) -> None:
            kind = np.float16 if still.dtype == torch.float16 else np.float32
            binding.bind_input(self._input.name, self._device, self._number, kind, tuple(still.shape), still.data_ptr())

        return bind, fill

    def _options(self, graph: str) -> Any:
        options = onnxruntime.RunOptions()
        if self._device == "cuda":
            options.add_run_config_entry("gpu_graph_id", graph)
        return options


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
