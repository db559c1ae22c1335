"""Where PyTorch runs a network, and how: device, precision, memory, CUDA graphs. Imports PyTorch when it is called."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from spoton.errors import ModelError
from spoton.vision.inference import Inference
from spoton.vision.jpegs import DeviceJpegs

INSTALL = "pip install 'spoton[models]'"
_WARM_UP_RUNS = 3

log = structlog.get_logger("detection")


def torch_device(inference: Inference) -> Any:
    """The ``torch.device`` that was asked for, with the memory budget set on a GPU.

    Raises ModelError when it is not there, or cannot run what was asked for.
    """
    import torch

    usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if inference.device == "cpu" or (inference.device == "auto" and usable == 0):
        if inference.precision == "fp16":
            raise ModelError(
                "precision = 'fp16' needs a GPU, PyTorch runs on the CPU here",
                remedy="precision = auto, or device = cuda",
            )
        torch.set_num_threads(inference.threads or min(2, os.cpu_count() or 1))
        return torch.device("cpu")
    if inference.gpu >= usable:
        raise ModelError(
            f"device = {inference.device!r}: PyTorch {torch.__version__} can use {usable} GPUs here",
            remedy="choose device = cpu, or see `spoton doctor`",
        )
    device = torch.device("cuda", inference.gpu)
    if inference.memory_mb is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, inference.memory_mb * 2**20 / total), device)
    return device


def half(inference: Inference, device: Any) -> bool:
    """Whether the network computes in FP16."""
    return bool(device.type == "cuda" and inference.precision != "fp32")


def to_device(array: NDArray[Any], device: Any) -> Any:
    """A tensor on the device; on its way to a GPU through pinned memory, without waiting."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def device_jpegs(inference: Inference, device: Any) -> DeviceJpegs | None:
    """What decodes pictures on a GPU; None: they are decoded on the host, and the log says why where that is a lack."""
    if device.type != "cuda" or inference.decode == "cpu":
        return None
    try:
        return DeviceJpegs(device)
    except ModelError as error:
        log.info("pictures are decoded on the CPU", reason=str(error))
        return None


class Forward:
    """A network's forward pass: one CUDA graph for each input shape on a GPU, as it is elsewhere.

    function: takes one tensor, gives a sequence of tensors. A pass that cannot be captured runs as it is, and says so.
    """

    def __init__(self, function: Callable[[Any], Sequence[Any]], device: Any) -> None:
        self._function = function
        self._graphs: dict[tuple[int, ...], tuple[Any, Any, Sequence[Any]]] = {}
        self._capture = device.type == "cuda"

    def __call__(self, tensor: Any) -> list[NDArray[np.float32]]:
        """All outputs as float32 on the host."""
        import torch

        with torch.inference_mode():
            if self._capture:
                try:
                    outputs = self._replay(tensor)
                except torch.OutOfMemoryError:
                    self._graphs.clear()
                    torch.cuda.empty_cache()
                    raise
                except RuntimeError as error:
                    log.warning("runs without a CUDA graph", reason=str(error).splitlines()[0][:200])
                    self._capture = False
                    outputs = self._function(tensor)
            else:
                outputs = self._function(tensor)
            return [output.float().cpu().numpy() for output in outputs]

    def _replay(self, tensor: Any) -> Sequence[Any]:
        """As PyTorch documents it: warm up on a side stream, capture once, copy the input in and replay."""
        import torch

        key = tuple(tensor.shape)
        if key not in self._graphs:
            still = tensor.clone()
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP_RUNS):
                    self._function(still)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = self._function(still)
            self._graphs[key] = graph, still, outputs
        graph, still, outputs = self._graphs[key]
        still.copy_(tensor)
        graph.replay()
        return outputs


def memory_peak_bytes(device: Any) -> int | None:
    """The most that PyTorch had allocated on a GPU so far; None on the CPU."""
    import torch

    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
