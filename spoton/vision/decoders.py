"""What the outputs of known people detectors mean: raw network output to corners and scores of people.

Sources of the layouts: PP-PicoDet (PaddleDetection, arXiv:2111.00902), YOLOX (arXiv:2107.08430), and the ONNX exports
of the YOLOv5 and YOLOv8 families. The score of a box is that of its person, also where another class has a higher one:
the demos of those families give each box its best class only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Outputs = Sequence[NDArray[np.float32]]
People = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Corners (N, 4) left, top, right, bottom in input pixels, and scores (N,)."""

_PICODET_STRIDES = (8, 16, 32, 64)
_YOLO_STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a decoder is told: input size px, index of the person class, least score, whether to apply the grid."""

    width: int
    height: int
    person: int
    score_min: float
    raw_grid: bool = True


Decode = Callable[[Outputs, Reading], People]
"""Decodes one picture: each output without its batch side."""


def picodet(outputs: Outputs, reading: Reading) -> People:
    """Per stride scores (cells, classes), then per stride distance distributions (cells, 4 x bins).

    A side's distance from the cell's centre is the mean of its softmax, in strides.
    """
    half = len(outputs) // 2
    corners, scores = [], []
    for stride, classes, sides in zip(_PICODET_STRIDES, outputs[:half], outputs[half:], strict=False):
        person = classes[:, reading.person].astype(np.float64)
        keep = np.flatnonzero(person >= reading.score_min)
        _, cells = _Places.of(reading, (stride,)).at(keep)
        centres = (cells + 0.5) * stride
        bins = sides[keep].astype(np.float64).reshape(len(keep), 4, sides.shape[1] // 4)
        weights = np.exp(bins - bins.max(axis=2, keepdims=True))
        distances = weights @ np.arange(bins.shape[2]) / weights.sum(axis=2) * stride
        corners.append(np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1))
        scores.append(person[keep])
    return np.concatenate(corners), np.concatenate(scores)


def yolox(outputs: Outputs, reading: Reading) -> People:
    """(cells, 5 + classes): centre, size, objectness, classes; centre in cells and size as logarithm when raw."""
    keep, boxes, score = _sure(outputs[0], reading)
    if reading.raw_grid:
        places = _Places.of(reading, _YOLO_STRIDES)
        stride, cells = places.at(keep)
        boxes = np.concatenate([(boxes[:, :2] + cells) * stride, np.exp(boxes[:, 2:]) * stride], axis=1)
    return _corners(boxes), score


def yolov5(outputs: Outputs, reading: Reading) -> People:
    """(anchors, 5 + classes): centre, size, objectness, classes, all in input pixels."""
    _, boxes, score = _sure(outputs[0], reading)
    return _corners(boxes), score


def _sure(
    table: NDArray[np.float32], reading: Reading
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Rows (N,) of a (rows, 5 + classes) table whose person is sure enough, their boxes (N, 4) and scores (N,)."""
    score = table[:, 4].astype(np.float64) * table[:, 5 + reading.person]
    keep = np.flatnonzero(score >= reading.score_min)
    return keep, table[keep, :4].astype(np.float64), score[keep]


def yolov8(outputs: Outputs, reading: Reading) -> People:
    """(4 + classes, anchors): centre, size, classes, all in input pixels."""
    score = outputs[0][4 + reading.person].astype(np.float64)
    keep = np.flatnonzero(score >= reading.score_min)
    return _corners(outputs[0][:4, keep].T.astype(np.float64)), score[keep]


def suppressed(outputs: Outputs, reading: Reading) -> People:
    """(found, 6): left, top, right, bottom, score, class; an export that did its own suppression."""
    table = outputs[0].astype(np.float64)
    keep = (table[:, 4] >= reading.score_min) & (np.round(table[:, 5]) == reading.person)
    return table[keep, :4], table[keep, 4]


def rtdetr(outputs: Outputs, reading: Reading) -> People:
    """(queries, 4 + classes): centre, size as shares of the input, classes; needs no suppression."""
    table = outputs[0]
    score = table[:, 4 + reading.person].astype(np.float64)
    keep = np.flatnonzero(score >= reading.score_min)
    return _corners(table[keep, :4].astype(np.float64) * _sides(reading)), score[keep]


def ranked(outputs: Outputs, reading: Reading) -> People:
    """(queries, 6): centre, size as shares of the input, score, class; an RT-DETR that ranks by itself."""
    table = outputs[0].astype(np.float64)
    keep = (table[:, 4] >= reading.score_min) & (np.round(table[:, 5]) == reading.person)
    return _corners(table[keep, :4] * _sides(reading)), table[keep, 4]


def detr(outputs: Outputs, reading: Reading) -> People:
    """Logits (queries, classes) and boxes (queries, 4), centre and size as shares of the input; sigmoid scores.

    As in RT-DETR (arXiv:2304.08069), of all pairs of query and class only as many count as there are queries.
    """
    logits, boxes = outputs[0].astype(np.float64), outputs[1]
    ranks = np.argsort(-logits, axis=None, kind="stable")[: len(logits)]
    queries, classes = np.divmod(ranks, logits.shape[1])
    score = 1.0 / (1.0 + np.exp(-logits[queries, classes]))
    keep = (classes == reading.person) & (score >= reading.score_min)
    return _corners(boxes[queries[keep]].astype(np.float64) * _sides(reading)), score[keep]


DECODERS: dict[str, Decode] = {
    "picodet": picodet,
    "yolox": yolox,
    "yolov5": yolov5,
    "yolov8": yolov8,
    "suppressed": suppressed,
    "rtdetr": rtdetr,
    "ranked": ranked,
    "detr": detr,
}
NEEDS_NO_SUPPRESSION = ("suppressed", "rtdetr", "ranked", "detr")


def recognise(shapes: Sequence[tuple[int, ...]], width: int, height: int) -> str | None:
    """Name of the decoder whose layout has these output shapes (batch side first) at this input size, or None."""
    if _is_picodet(shapes, width, height):
        return "picodet"
    if len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and shapes[1] == (*shapes[0][:2], 4):
        return "detr"
    if len(shapes) != 1 or len(shapes[0]) != 3:
        return None
    _, rows, columns = shapes[0]
    cells = sum(_cell_count(width, height, stride) for stride in _YOLO_STRIDES)
    if rows == cells and columns >= 6:
        return "yolox"
    if rows == 3 * cells and columns >= 6:
        return "yolov5"
    if columns == cells and rows >= 5:
        return "yolov8"
    return "suppressed" if columns == 6 else None


def class_count(decoder: str, shapes: Sequence[tuple[int, ...]]) -> int | None:
    """Classes that outputs of these shapes score; None where the layout does not tell."""
    if decoder == "picodet":
        return shapes[0][2]
    if decoder in ("yolox", "yolov5"):
        return shapes[0][2] - 5
    if decoder == "detr":
        return shapes[0][2]
    if decoder == "rtdetr":
        return shapes[0][2] - 4
    return shapes[0][1] - 4 if decoder == "yolov8" else None


def _is_picodet(shapes: Sequence[tuple[int, ...]], width: int, height: int) -> bool:
    half = len(_PICODET_STRIDES)
    if len(shapes) != 2 * half or any(len(shape) != 3 for shape in shapes):
        return False
    cells = [_cell_count(width, height, stride) for stride in _PICODET_STRIDES]
    sides = {shape[2] for shape in shapes[half:]}
    return (
        [shape[1] for shape in shapes] == cells * 2
        and len({shape[2] for shape in shapes[:half]}) == 1
        and len(sides) == 1
        and sides.pop() % 4 == 0
    )


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the rows of an output lie in the picture. strides: of its parts; columns: per part; ends: of its rows."""

    strides: NDArray[np.int64]
    columns: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, reading: Reading, strides: Sequence[int]) -> _Places:
        sides = np.asarray(strides)
        columns = -(-reading.width // sides)
        return cls(sides, columns, np.cumsum(columns * -(-reading.height // sides)))

    def at(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Stride (N, 1), and column and row (N, 2) of the cell, of each row of the output."""
        part = np.searchsorted(self.ends, rows, side="right")
        first = self.ends[part] - np.diff(self.ends, prepend=0)[part]
        y, x = np.divmod(rows - first, self.columns[part])
        return self.strides[part, None], np.stack([x, y], axis=1).astype(np.float64)


def _cell_count(width: int, height: int, stride: int) -> int:
    return -(-width // stride) * -(-height // stride)


def _sides(reading: Reading) -> NDArray[np.float64]:
    return np.array([reading.width, reading.height, reading.width, reading.height], dtype=np.float64)


def _corners(centre_size: NDArray[np.float64]) -> NDArray[np.float64]:
    half = centre_size[:, 2:] / 2
    return np.concatenate([centre_size[:, :2] - half, centre_size[:, :2] + half], axis=1)
