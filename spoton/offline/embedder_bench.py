"""Embedders measured on labelled crops of real people: how often the right one is found, and what a look costs.

The folder holds ``query/SOURCE/*.jpg`` and ``gallery/SOURCE/*.jpg``, files named ``PERSON_cCAMERA_....jpg`` as those of
Market-1501 are (Zheng et al. 2015). Each source is scored by itself, by the protocol of that paper: a query is looked
for among the crops of other cameras; its own camera's crops of the same person do not count.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spoton.errors import InputError
from spoton.vision import clip_embedder
from spoton.vision.clip_embedder import ClipEmbedder
from spoton.vision.histogram_embedder import HistogramEmbedder
from spoton.vision.onnx_embedder import OnnxEmbedder
from spoton.vision.protocols import Embedder, Picture
from spoton.vision.weights import find

_NAME = re.compile(r"(\d+)_c(\d+)_")
_TIMED = 48
_ROUNDS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Labelled crops. person, camera: (N,)."""

    pictures: list[Picture]
    person: NDArray[np.int64]
    camera: NDArray[np.int64]


def run(folder: Path, weights_dir: Path) -> dict[str, Any]:
    """Every embedder that is there, on every source of the folder.

    The result has per embedder ``dim``, ``ms_crop``, for networks ``bare_ms_crop`` (the network alone on the same
    crops, prepared, in the same batches) and ``times_bare`` (median over rounds, turn by turn), and per source
    ``queries``, ``gallery``, ``rank1``, ``mean_ap`` in [0, 1], and ``equal_error``: the cosine ``distance`` beyond
    which as large a share of the same people lies as of different people below it, and that ``share``.

    Raises InputError when the folder holds no crops in this order.
    """
    sources = sorted(path.name for path in (folder / "query").glob("*") if path.is_dir())
    if not sources:
        raise InputError(
            f"{folder}: no crops in query/SOURCE", remedy="give a folder with query/SOURCE and gallery/SOURCE"
        )
    data = {name: (_crops(folder / "query" / name), _crops(folder / "gallery" / name)) for name in sources}
    embedders, missing = _embedders(weights_dir)
    results: dict[str, Any] = {}
    for embedder in embedders:
        timed = next(iter(data.values()))[0].pictures[:_TIMED]
        results[embedder.name] = {
            "dim": embedder.dim,
            **_cost(embedder, timed),
            "sources": {name: _score(embedder, *both) for name, both in data.items()},
        }
    return {"folder": folder.name, "embedders": results, "missing": missing}


def _embedders(weights_dir: Path) -> tuple[list[Embedder], list[str]]:
    made: list[Embedder] = [HistogramEmbedder()]
    osnet, clip = find("osnet", weights_dir), clip_embedder.find(weights_dir)
    if osnet is not None:
        made.append(OnnxEmbedder(osnet, name="osnet"))
    if clip is not None:
        made.append(ClipEmbedder(clip))
    return made, [name for name, path in (("osnet", osnet), ("clip", clip)) if path is None]


def _crops(folder: Path) -> Crops:
    labelled = [(match, path) for path in sorted(folder.glob("*.jpg")) if (match := _NAME.match(path.name))]
    if not labelled:
        raise InputError(f"{folder}: no files named PERSON_cCAMERA_....jpg", remedy="give a folder of labelled crops")
    pictures: list[Picture] = []
    for _, path in labelled:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise InputError(f"{path}: not a readable picture", remedy="remove it, or unpack the folder again")
        pictures.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8))
    numbers = np.array([(int(match[1]), int(match[2])) for match, _ in labelled], dtype=np.int64)
    return Crops(pictures, numbers[:, 0], numbers[:, 1])


def _score(embedder: Embedder, query: Crops, gallery: Crops) -> dict[str, Any]:
    alike = (embedder.embed(query.pictures) @ embedder.embed(gallery.pictures).T).astype(np.float64)
    same = query.person[:, None] == gallery.person
    counted = ~(same & (query.camera[:, None] == gallery.camera))
    first, precision = retrieval(alike, same, counted)
    distance, share = equal_error(1.0 - alike[same & counted], 1.0 - alike[~same])
    return {
        "queries": len(precision),
        "gallery": len(gallery.pictures),
        "rank1": round(float(np.mean(first)), 4),
        "mean_ap": round(float(np.mean(precision)), 4),
        "equal_error": {"distance": round(distance, 3), "share": round(share, 4)},
    }


def retrieval(
    alike: NDArray[np.float64], same: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Of each query with a true match: whether the first found is one, and the average precision.

    alike: (Q, G) scores; same: (Q, G) true matches; counted: (Q, G) what is looked among.
    """
    first, precision = [], []
    for scores, true, seen in zip(alike, same, counted, strict=True):
        hits = true[seen][np.argsort(-scores[seen], kind="stable")]
        if hits.any():
            places = np.flatnonzero(hits) + 1
            first.append(bool(hits[0]))
            precision.append(float((np.arange(1, len(places) + 1) / places).mean()))
    return np.array(first, dtype=np.bool_), np.array(precision)


def equal_error(same: NDArray[np.float64], different: NDArray[np.float64]) -> tuple[float, float]:
    """The distance at which as many of the same lie above as of the different below, as shares, and that share."""
    bounds = np.quantile(np.concatenate([same, different]), np.linspace(0.0, 1.0, 2001))
    above = 1.0 - np.searchsorted(np.sort(same), bounds, side="right") / len(same)
    below = np.searchsorted(np.sort(different), bounds, side="right") / len(different)
    best = int(np.abs(above - below).argmin())
    return float(bounds[best]), float((above[best] + below[best]) / 2)


def _cost(embedder: Embedder, pictures: list[Picture]) -> dict[str, float]:
    bare = _bare(embedder, pictures)
    whole_s: list[float] = []
    bare_s: list[float] = []
    for _ in range(_ROUNDS):
        whole_s.append(_seconds(lambda: embedder.embed(pictures)))
        if bare is not None:
            bare_s.append(_seconds(bare))
    cost = {"ms_crop": round(1e3 * statistics.median(whole_s) / len(pictures), 3)}
    if bare_s:
        cost["bare_ms_crop"] = round(1e3 * statistics.median(bare_s) / len(pictures), 3)
        cost["times_bare"] = round(statistics.median(a / b for a, b in zip(whole_s, bare_s, strict=True)), 3)
    return cost


def _bare(embedder: Embedder, pictures: list[Picture]) -> Callable[[], Any] | None:
    """The network alone on what it is fed with for these pictures; None where there is none."""
    if isinstance(embedder, OnnxEmbedder):
        session, name = embedder.graph.session, embedder.graph.inputs[0].name
        tensors = [embedder.preparation.batch(pictures[start : start + 16]) for start in range(0, len(pictures), 16)]
        return lambda: [session.run(None, {name: tensor}) for tensor in tensors]
    if isinstance(embedder, ClipEmbedder):
        tensors = [embedder.tensor(pictures[start : start + 16]) for start in range(0, len(pictures), 16)]
        return lambda: [embedder.run(tensor) for tensor in tensors]
    return None


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as two tables: what is found, and what it costs."""
    table = Table("source", "embedder", "rank-1", "mAP", "equal error", "at distance", title=result["folder"])
    costs = Table("embedder", "numbers", "ms a crop", "times the bare network")
    for name, one in result["embedders"].items():
        costs.add_row(name, str(one["dim"]), f"{one['ms_crop']:.2f}", f"{one.get('times_bare', '')}")
        for source, score in one["sources"].items():
            equal = score["equal_error"]
            table.add_row(
                source, name, f"{score['rank1']:.3f}", f"{score['mean_ap']:.3f}", f"{equal['share']:.3f}",
                f"{equal['distance']:.2f}",
            )  # fmt: skip
    console.print(table)
    console.print(costs)
    for name in result["missing"]:
        console.print(f"{name}: weights not there, not measured")
