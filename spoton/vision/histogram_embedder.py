"""The embedder that needs no network: colours by height, measured in the directions in which people differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoton.vision.protocols import Picture
from spoton.vision.worn_colours import worn_colours

METRIC = Path(__file__).with_name("histogram_metric.npy")
"""(numbers of ``worn_colours``, dim) float16, made by ``python -m spoton.sim.metric_fit``."""


class HistogramEmbedder:
    """Worn colours, seen in directions that tell people apart and change little from view to view of one of them.

    The directions are those of linear discriminant analysis (Rao 1948), learnt from simulated people in any colours,
    ``spoton.sim.metric_fit``. A dot product of two rows is in [-1, 1].
    """

    name = "histogram"
    dim = 96

    def __init__(self) -> None:
        self._metric: NDArray[np.float32] = np.load(METRIC).astype(np.float32)

    def embed(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """(N, 96) float32 rows of unit length, one per RGB crop; an empty crop gives the row of a black one."""
        rows = worn_colours(crops) @ self._metric
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
