"""A detector run on many frames: does its memory stay where it is?"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
from rich.console import Console

from spoton.errors import InputError
from spoton.offline.detection_bench import VIDEO
from spoton.vision.choose import make_detector
from spoton.vision.detector_state import DetectorNow, resident_peak_bytes
from spoton.vision.inference import Inference
from spoton.vision.protocols import Picture

FLAT_WITHIN = 0.02
_CAMERAS_PX = ((480, 360), (1920, 1080), (1280, 720), (720, 1280))
_KEPT = 50
_SAMPLES = 200
_WARM_UP = 0.1


def run(
    shared: Path,
    *,
    detector: str = "yolox-nano",
    frames: int = 10_000,
    weights_dir: Path,
    inference: Inference | None = None,
) -> dict[str, Any]:
    """Resident memory while one detector looks at frames of four cameras of four sizes, one of each in a batch.

    ``frames``, ``seconds``, ``rss_start_mb`` (median of the first tenth after a warm-up of a tenth), ``rss_end_mb``
    (median of the last tenth), ``growth`` (their ratio less 1), ``flat`` (growth at most 2 %), ``rss_peak_mb`` of the
    process, ``rss_mb`` (200 samples), ``batch_most`` and ``out_of_memory`` of the detector, ``gpu_peak_mb`` where
    PyTorch uses a GPU.

    Raises InputError without the video, ModelError for a detector that cannot be made.
    """
    shots = _shots(shared / VIDEO)
    made = make_detector(detector, weights_dir=weights_dir, inference=inference)
    process = psutil.Process(os.getpid())
    batches = -(-frames // len(_CAMERAS_PX))
    every = max(1, batches // _SAMPLES)
    resident: list[int] = []
    found = 0
    began_s = time.perf_counter()
    for number, shot in zip(range(batches), itertools.cycle(shots), strict=False):
        pictures = [np.asarray(cv2.resize(shot, size), np.uint8) for size in _CAMERAS_PX]
        found += sum(map(len, made.detect(pictures)))
        if number % every == 0:
            resident.append(process.memory_info().rss)
    seconds = time.perf_counter() - began_s
    tenth = max(1, len(resident) // 10)
    warm = resident[round(len(resident) * _WARM_UP) :]
    start, end = statistics.median(warm[:tenth]), statistics.median(warm[-tenth:])
    now = DetectorNow.of(made.name, [made], 0)
    return {
        "detector": made.name,
        "frames": batches * len(_CAMERAS_PX),
        "people": found,
        "seconds": round(seconds, 1),
        "rss_start_mb": round(start / 2**20, 1),
        "rss_end_mb": round(end / 2**20, 1),
        "growth": round(end / start - 1.0, 5),
        "flat": end / start - 1.0 <= FLAT_WITHIN,
        "rss_peak_mb": round(resident_peak_bytes() / 2**20, 1),
        "rss_mb": [round(one / 2**20, 1) for one in resident],
        "batch_most": now.batch,
        "out_of_memory": now.out_of_memory,
        "gpu_peak_mb": None if now.gpu_peak_bytes is None else round(now.gpu_peak_bytes / 2**20, 1),
    }


def _shots(video: Path) -> list[Picture]:
    if not video.is_file():
        raise InputError(f"{video}: no such video", remedy="point SPOTON_SHARED to the folder with data and weights")
    with av.open(str(video)) as container:
        few = itertools.islice(container.decode(video=0), _KEPT)
        return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in few]


def render(result: dict[str, Any], console: Console) -> None:
    """The result in three lines."""
    console.print(f"{result['detector']}: {result['frames']} frames in {result['seconds']:.0f} s")
    console.print(
        f"resident memory {result['rss_start_mb']:.1f} MB after the warm-up, {result['rss_end_mb']:.1f} MB at the end "
        f"({100 * result['growth']:+.2f} %: {'flat' if result['flat'] else 'not flat'}), "
        f"peak {result['rss_peak_mb']:.1f} MB"
    )
    if result["out_of_memory"]:
        console.print(f"out of memory {result['out_of_memory']} times; the batch is {result['batch_most']} now")
