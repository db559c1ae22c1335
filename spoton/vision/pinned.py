"""Page-locked host memory, from which a GPU copies without a detour."""

from __future__ import annotations

import ctypes
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

log = structlog.get_logger("detection")


def pinned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that CUDA has locked (``cudaHostRegister``) for as long as the array lives; plain zeros where it cannot.

    The CUDA runtime taken is the one that this process has loaded already, ONNX Runtime's or PyTorch's.
    """
    array = np.zeros(shape, dtype)
    runtime = _loaded_runtime()
    if runtime is None:
        log.warning("host memory is not pinned: no CUDA runtime is loaded")
        return array
    address, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
    status = runtime.cudaHostRegister(address, size, ctypes.c_uint(0))
    if status != 0:
        log.warning("host memory is not pinned", cuda_status=status)
        return array
    weakref.finalize(array, runtime.cudaHostUnregister, address)
    return array


def _loaded_runtime() -> ctypes.CDLL | None:
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return None
    for line in maps.read_text(errors="replace").splitlines():
        path = line.rpartition(" ")[2]
        if "/libcudart" in path and Path(path).is_file():
            return ctypes.CDLL(path)
    return None
