"""The rows of a gallery: unit vectors in one exact FAISS index, on the processor or mirrored on a GPU."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spoton.errors import ModelError

Device = Literal["cpu", "gpu"]
Rows = NDArray[np.float32]

MISSING = "install it with `pip install 'spoton[gallery]'`"
NO_GPU = "use device 'cpu', or put spoton[gallery-gpu] in place of faiss-cpu"


def faiss_module() -> Any:
    """FAISS; ModelError with the remedy where it is not installed."""
    # It tells of every kind of processor that it was not built for.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        import faiss
    except ImportError as error:
        raise ModelError(f"the gallery needs FAISS, which cannot be imported ({error})", remedy=MISSING) from error
    return faiss


class ExactRows:
    """Rows in a flat inner product index (``IndexFlatIP``; Douze et al. 2024), searched one by one: nothing is lost.

    A flat index keeps its rows in one block, so a row can be changed in place, and one removed by putting the last in
    its stead. What remains to pay for a removal is FAISS's look at all row numbers (a millisecond for 100,000): remove
    many at once. device: ``gpu`` searches a copy there, brought up to date first.

    Raises ModelError without FAISS, and for ``gpu`` without a FAISS for GPUs or without a GPU.
    """

    def __init__(self, dim: int, device: Device = "cpu") -> None:
        self._faiss = faiss_module()
        self.dim = dim
        self.device = device
        self._index = self._faiss.IndexFlatIP(dim)
        self._copy: Any = None
        self._gpu = self._resources() if device == "gpu" else None

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def array(self) -> Rows:
        """(N, dim), the rows themselves, not a copy; good until the next ``append`` or ``keep_first``."""
        if not len(self):
            return np.zeros((0, self.dim), dtype=np.float32)
        block = self._faiss.rev_swig_ptr(self._index.get_xb(), len(self) * self.dim)
        return np.asarray(block, dtype=np.float32).reshape(len(self), self.dim)

    def append(self, rows: Rows) -> None:
        """Add rows (M, dim) behind the others."""
        self._copy = None
        self._index.add(np.ascontiguousarray(rows, dtype=np.float32))

    def put(self, places: NDArray[np.int64], rows: Rows) -> None:
        """Write rows (M, dim) over those at ``places`` (M,)."""
        self._copy = None
        self.array()[places] = rows

    def keep_first(self, count: int) -> None:
        """Drop all rows from ``count`` on."""
        self._copy = None
        if count < len(self):
            self._index.remove_ids(self._faiss.IDSelectorRange(count, len(self)))

    def search(self, queries: Rows, count: int) -> tuple[Rows, NDArray[np.int64]]:
        """The ``count`` best rows of each query (Q, dim): scores (Q, count), best first, and places, -1 for none."""
        scores, places = self._searched().search(np.ascontiguousarray(queries, dtype=np.float32), count)
        return scores, places

    def _searched(self) -> Any:
        if self._gpu is None:
            return self._index
        if self._copy is None:
            self._copy = self._faiss.index_cpu_to_gpu(self._gpu, 0, self._index)
        return self._copy

    def _resources(self) -> Any:
        if not hasattr(self._faiss, "StandardGpuResources"):
            raise ModelError(f"gallery device 'gpu': FAISS {self._faiss.__version__} is built without", remedy=NO_GPU)
        if self._faiss.get_num_gpus() < 1:
            raise ModelError("gallery device 'gpu': FAISS sees no GPU here", remedy="use device 'cpu'")
        return self._faiss.StandardGpuResources()
