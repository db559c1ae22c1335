"""Work in batches that fit into memory: one that does not is halved, and the next ones stay that small."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from spoton.errors import ModelError

Result = TypeVar("Result")

log = structlog.get_logger("detection")

_WORDS = (
    "failed to allocate memory",
    "can't allocate memory",
    "available memory of",
    "out of memory",
    "not enough memory",
    "cuda_error_out_of",
)


class BatchLimit:
    """How many pictures go in one run, and how often memory did not suffice.

    name: what runs, as told to people. most: where it begins.
    """

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.out_of_memory = 0
        self._lock = threading.Lock()

    def run(self, function: Callable[[int, int], Result], count: int) -> list[Result]:
        """``function(start, end)`` over 0 to ``count`` in steps that fit; results in order.

        A step that runs out of memory is tried again at half its size, and the limit stays there. Raises ModelError
        when one picture alone does not fit; any other error of ``function`` passes through.
        """
        results: list[Result] = []
        start = 0
        while start < count:
            end = min(count, start + self.most)
            try:
                results.append(function(start, end))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self._halve(end - start, error)
                continue
            start = end
        return results

    def _halve(self, pictures: int, error: Exception) -> None:
        with self._lock:
            self.out_of_memory += 1
            if pictures == 1:
                raise ModelError(
                    f"{self.name}: out of memory with a single picture",
                    remedy="give it more memory (SPOTON_DETECTOR_MEMORY_MB), a smaller model, or device = cpu",
                ) from error
            self.most = max(1, min(self.most, pictures // 2))
            log.warning(
                "out of memory: the batch is halved",
                detector=self.name, pictures=pictures, pictures_now=self.most,
                remedy="give it more memory, or set SPOTON_BATCH to this",
            )  # fmt: skip


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of ONNX Runtime, PyTorch or NumPy, or what it arose from, says that memory did not suffice."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen).lower()
        if isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError":
            return True
        if any(word in text for word in _WORDS):
            return True
        seen = seen.__cause__
    return False
