"""Detection measured on real surveillance video: average precision and time per frame, beside the bare engines.

The pictures are PETS 2009 S2.L1 view 1 (Ferryman and Shahrokni 2009), the truth is Anton Milan's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spoton.errors import InputError
from spoton.offline.average_precision import average_precision
from spoton.offline.detection_speed import ratios, tiling_gain
from spoton.vision.builtin_detector import BuiltinDetector
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.protocols import Detections, Detector, Picture
from spoton.vision.weights import find

VIDEO = "data/pets09_s2l1/view001_480x360_10fps_795f.mp4"
TRUTH = "seqs/pets09_s2l1/gt/View_001.txt"
_TRUTH_SCALE = 0.625
"""The truth is in pixels of the 768 x 576 original, the video has 480 x 360."""
_FPS = 10.0
_ONNX_NAMES = ("picodet-s", "yolox-nano")
_SCORE_MIN = 0.05
_LEAST_BLOB_PX = 120


def run(
    shared: Path,
    *,
    onnx_stride: int = 4,
    frames: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """AP50 and milliseconds per frame of every detector that is there.

    shared: the folder with ``data``, ``seqs`` and ``weights``. onnx_stride: the ONNX detectors see every n-th frame;
    the built-in one and its peer see and are scored on all. frames: only so many from the first on. progress: called
    with frames done and frames in all.

    The result has ``video``, ``frames``, and under ``detectors`` per name ``ap50``, ``frames`` scored, ``ms_median``
    (wall clock), ``cpu_ms_mean`` (processor time of the whole process); ONNX detectors add ``bare_ms_median`` and
    ``times_bare`` (ours over the bare ONNX Runtime session's time on the same input, turn by turn in the same run).
    ``mog2-blobs`` is OpenCV's MOG2 with every large enough blob as a person: the peer of the built-in detector. Both
    run on one core. ``speed`` and ``tiling`` as ``detection_speed`` describes them.

    Raises InputError when video or truth are not there.
    """
    video, truth = shared / VIDEO, _truth(shared / TRUTH)[:frames]
    paths = {name: find(name, shared / "weights") for name in _ONNX_NAMES}
    present = {name: path for name, path in paths.items() if path is not None}
    total = 2 * len(truth) + len(present) * len(truth[::onnx_stride])
    ticks = iter(range(1, total + 1))
    results: dict[str, Any] = {}

    def tick() -> None:
        progress(next(ticks), total)

    for name, path in present.items():
        detector = OnnxDetector(path, name=name, score_min=_SCORE_MIN, threads=threads)
        pictures = _pictures(video, onnx_stride, len(truth))
        results[name] = _measure_onnx(detector, pictures, truth[::onnx_stride], tick)
    onnx = {name: OnnxDetector(path, name=name, threads=threads) for name, path in present.items()}
    speed = ratios(onnx, next(_pictures(video, 1, 1))) if onnx else {}
    for alone in (BuiltinDetector(fps=_FPS), PlainBlobs()):
        with _one_core():
            results[alone.name] = _measure(alone, _pictures(video, 1, len(truth)), truth, lambda _: tick())
    return {
        "video": Path(VIDEO).name,
        "frames": len(truth),
        "onnx_stride": onnx_stride,
        "detectors": results,
        "speed": speed,
        "tiling": tiling_gain(shared, onnx) if onnx else None,
        "missing": sorted(set(_ONNX_NAMES) - set(present)),
    }


@contextmanager
def _one_core() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class PlainBlobs:
    """MOG2 as it comes, shadows off, every blob of at least 120 px a person: what the built-in detector must beat."""

    name = "mog2-blobs"
    shared = False

    def __init__(self) -> None:
        self._background = cv2.createBackgroundSubtractorMOG2()

    def detect(self, frames: Sequence[Picture]) -> list[Detections]:
        """One ``Detections`` per frame; the score is the share of its box that a blob fills."""
        return [self._people(frame) for frame in frames]

    def _people(self, frame: Picture) -> Detections:
        mask = cv2.threshold(self._background.apply(frame), 200, 255, cv2.THRESH_BINARY)[1]
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 5), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        large = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= _LEAST_BLOB_PX].astype(np.float64)
        return Detections(large[:, :4], large[:, 4] / np.maximum(large[:, 2] * large[:, 3], 1.0))


def _measure(
    detector: Detector,
    pictures: Iterable[Picture],
    truth: Sequence[NDArray[np.float64]],
    after: Callable[[Picture], None],
) -> dict[str, Any]:
    found: list[Detections] = []
    wall_s: list[float] = []
    cpu_s = 0.0
    for picture in pictures:
        wall, cpu = time.perf_counter(), time.process_time()
        found += detector.detect([picture])
        wall_s.append(time.perf_counter() - wall)
        cpu_s += time.process_time() - cpu
        after(picture)
    ap50 = average_precision(truth, [each.boxes_px for each in found], [each.scores for each in found])
    return {
        "ap50": round(ap50, 4),
        "frames": len(found),
        "ms_median": round(1e3 * statistics.median(wall_s), 2),
        "cpu_ms_mean": round(1e3 * cpu_s / len(found), 2),
    }


def _measure_onnx(
    detector: OnnxDetector,
    pictures: Iterable[Picture],
    truth: Sequence[NDArray[np.float64]],
    tick: Callable[[], None],
) -> dict[str, Any]:
    bare_s: list[float] = []

    def after(picture: Picture) -> None:
        tensor = detector.preparation.batch([picture])
        start = time.perf_counter()
        detector.graph.session.run(None, {detector.graph.inputs[0].name: tensor})
        bare_s.append(time.perf_counter() - start)
        tick()

    result = _measure(detector, pictures, truth, after)
    bare_ms = 1e3 * statistics.median(bare_s)
    return result | {"bare_ms_median": round(bare_ms, 2), "times_bare": round(result["ms_median"] / bare_ms, 2)}


def _pictures(path: Path, stride: int, frames: int) -> Iterator[Picture]:
    """Every ``stride``-th of the first ``frames`` pictures of the video."""
    if not path.is_file():
        raise InputError(f"{path}: no such video", remedy="point SPOTON_SHARED to the folder with data and seqs")
    with av.open(str(path)) as container:
        for index, frame in enumerate(islice(container.decode(video=0), frames)):
            if index % stride == 0:
                yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as a table, detector by detector."""
    table = Table("detector", "AP50", "ms a frame, median", "times the bare session", "frames", title=result["video"])
    for name, one in result["detectors"].items():
        times = one.get("times_bare")
        table.add_row(
            name, f"{one['ap50']:.3f}", f"{one['ms_median']:.1f}", "" if times is None else f"{times:.2f}",
            str(one["frames"]),
        )  # fmt: skip
    console.print(table)
    for name, one in result["speed"].items():
        console.print(f"{name}: {one['ms']:.1f} ms, {one['times_bare']:.2f} times its session's {one['bare_ms']:.1f}")
    for name, one in (result["tiling"] or {}).items():
        if isinstance(one, dict):
            plain, tiles = one["plain"], one["tiles"]
            for how, each in (("whole", plain), ("in tiles too", tiles)):
                console.print(
                    f"{name}, full HD stills {how}: AP50 {each['ap50']:.3f}, of people under 120 px "
                    f"{each['recall_small']}, {each['ms']:.0f} ms"
                )
    for name in result["missing"]:
        console.print(f"{name}: weights not there, not measured")


def _truth(path: Path) -> list[NDArray[np.float64]]:
    """Per frame (N, 4) boxes in pixels of the video."""
    if not path.is_file():
        raise InputError(f"{path}: no such truth", remedy="point SPOTON_SHARED to the folder with data and seqs")
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    return [rows[rows[:, 0] == frame][:, 2:6] * _TRUTH_SCALE for frame in range(1, int(rows[:, 0].max()) + 1)]
