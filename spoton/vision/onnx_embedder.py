"""Re-identification networks in ONNX files, such as OSNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoton.vision.onnx_graph import Graph
from spoton.vision.protocols import Picture
from spoton.vision.recipes import embedder_preparation


class OnnxEmbedder:
    """Describes people with a graph of one output (batch, dim), from RGB crops stretched to its input.

    path: the weights; a TOML file beside them may describe the preparation, see ``spoton.vision.recipes``.
    Preparation as OSNet was trained (Zhou et al. 2019): RGB, ImageNet mean and deviation.

    Raises ModelError when the file is missing, damaged, or has other outputs.
    """

    def __init__(self, path: Path, *, name: str | None = None, threads: int | None = None) -> None:
        self.name = name or path.stem
        self.graph = Graph(path, threads=threads)
        self.preparation = embedder_preparation(self.graph)
        probe = np.zeros((1, 3, self.preparation.height, self.preparation.width), dtype=np.float32)
        outputs = self.graph.run(probe)
        if len(outputs) != 1 or outputs[0].size < 2 or outputs[0].size != max(outputs[0].shape):
            raise self.graph.unknown("an embedder needs one output of shape (batch, dim)")
        self.dim = outputs[0].size

    def embed(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """(N, dim) float32 rows of unit length, one per RGB crop; an empty crop gives the row of a black one.

        Raises ModelError when the graph fails or gives NaN.
        """
        if len(crops) == 0:
            return np.zeros((0, self.dim), dtype=np.float32)
        filled = [crop if crop.size else np.zeros((1, 1, 3), dtype=np.uint8) for crop in crops]
        rows = self.graph.run(self.preparation.batch(filled))[0].reshape(len(crops), self.dim)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.where(lengths > 0.0, rows / np.maximum(lengths, 1e-12), 1.0 / np.sqrt(self.dim))
        return np.asarray(rows, dtype=np.float32)
