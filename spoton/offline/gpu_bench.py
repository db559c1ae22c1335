"""A GPU's throughput by batch size, and how many camera streams it carries at a p99 under 100 ms.

The published figure beside it: NVIDIA, 50 streams of 1080p30 with RT-DETR-R50 on one card at a p95 of 901 ms.
"""

from __future__ import annotations

import heapq
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from spoton.errors import ModelError
from spoton.vision.choose import make_detector
from spoton.vision.detector_contract import picture
from spoton.vision.detector_state import DetectorNow, resident_peak_bytes
from spoton.vision.inference import Inference
from spoton.vision.protocols import Detector, Picture

BATCHES = (1, 2, 4, 8, 16, 32)
RATES = (15, 30)
P99_MS = 100.0
_MOST_STREAMS = 512
_DISTINCT = 32


def run(
    shared: Path, *, detector: str, seconds: float = 10.0, weights_dir: Path, inference: Inference | None = None
) -> dict[str, Any]:
    """Measure one detector on the GPU, on 1080p pictures in memory: preparation to boxes, no video decoding.

    seconds: how long each batch size and each load is held. ``batches``: by size ``fps``, ``p99_ms``; ``streams``: by
    rate the most streams at which p99, from a picture's due time to its boxes, stays under 100 ms, and that p99;
    ``memory``: bytes on the GPU and on the host.

    Raises ModelError when the detector does not run on a GPU: nothing is measured in its place.
    """
    del shared
    made = make_detector(detector, weights_dir=weights_dir, inference=inference)
    if not getattr(made, "on_gpu", False):
        raise ModelError(
            f"bench gpu: {made.name} runs on the CPU here, nothing was measured",
            remedy="it needs an NVIDIA GPU with spoton[gpu] or spoton[models]; `spoton doctor` says what is found",
        )
    pictures = [picture(1080, 1920, seed) for seed in range(_DISTINCT)]
    batches = {str(size): throughput(made, pictures[:size], seconds) for size in BATCHES if size <= batch_most(made)}
    streams = {str(rate): most_streams(made, pictures, rate, seconds) for rate in RATES}
    now = DetectorNow.of(made.name, [made], 0)
    return {
        "detector": made.name,
        "gpu": _gpu(),
        "picture": "1920x1080",
        "batches": batches,
        "streams": streams,
        "memory": {"host_peak_bytes": resident_peak_bytes(), "torch_peak_bytes": now.gpu_peak_bytes},
        "out_of_memory": now.out_of_memory,
    }


def batch_most(detector: Detector) -> int:
    """Most pictures that it takes in one run."""
    return DetectorNow.of(detector.name, [detector], 0).batch or 1


def throughput(detector: Detector, pictures: Sequence[Picture], seconds: float) -> dict[str, float | int]:
    """Frames a second and p99 of a batch, held for that long after three batches of warm-up."""
    for _ in range(3):
        detector.detect(pictures)
    took_s: list[float] = []
    until_s = time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < until_s or len(took_s) < 3:
        detector.detect(pictures)
        took_s.append(time.perf_counter() - began_s)
    return {
        "fps": round(len(pictures) * len(took_s) / sum(took_s), 1),
        "p99_ms": round(1e3 * float(np.percentile(took_s, 99)), 2),
        "runs": len(took_s),
    }


def most_streams(detector: Detector, pictures: Sequence[Picture], rate: int, seconds: float) -> dict[str, Any]:
    """The most streams of that rate whose p99 stays under 100 ms: doubled while it does, then halved in between."""
    p99_ms: dict[int, float] = {}

    def holds(streams: int) -> bool:
        p99_ms[streams] = latency(detector, pictures, streams, rate, seconds)
        return p99_ms[streams] < P99_MS

    good, bad = _doubled(holds)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return {"streams": good, "p99_ms": round(p99_ms[good], 2) if good else None}


def _doubled(holds: Callable[[int], bool]) -> tuple[int, int]:
    good, trial = 0, 1
    while trial <= _MOST_STREAMS:
        if not holds(trial):
            return good, trial
        good, trial = trial, 2 * trial
    return good, good + 1


def latency(detector: Detector, pictures: Sequence[Picture], streams: int, rate: int, seconds: float) -> float:
    """p99 in ms from when a picture is due to when its boxes are there; streams are spread evenly over a frame's time.

    What is due is taken together, up to the detector's batch, oldest first; none is left out, so that a detector that
    does not keep up shows it. It ends early when the backlog alone is beyond what may be.
    """
    most, begin_s = batch_most(detector), time.perf_counter()
    due = [(begin_s + stream / (streams * rate), stream) for stream in range(streams)]
    heapq.heapify(due)
    took_ms: list[float] = []
    while due[0][0] < begin_s + seconds:
        time.sleep(max(0.0, due[0][0] - time.perf_counter()))
        now_s = time.perf_counter()
        batch: list[tuple[float, int]] = []
        while len(batch) < most and due[0][0] <= now_s:
            at_s, stream = due[0]
            batch.append((at_s, stream))
            heapq.heapreplace(due, (at_s + 1.0 / rate, stream))
        detector.detect([pictures[stream % len(pictures)] for _, stream in batch])
        done_s = time.perf_counter()
        took_ms += [1e3 * (done_s - at_s) for at_s, _ in batch]
        if done_s - due[0][0] > 10 * P99_MS / 1e3:
            break
    return float(np.percentile(took_ms, 99))


def _gpu() -> str | None:
    """Name, memory in use and in all, and driver, as nvidia-smi reports them."""
    query = ["nvidia-smi", "--query-gpu=name,memory.used,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as a table and a line for each rate."""
    table = Table("batch", "frames/s", "p99 ms", title=f"{result['detector']} on {result['gpu']}")
    for size, one in result["batches"].items():
        table.add_row(size, f"{one['fps']:.0f}", f"{one['p99_ms']:.1f}")
    console.print(table)
    for rate, one in result["streams"].items():
        console.print(f"{one['streams']} streams of 1080p{rate} at a p99 of {one['p99_ms']} ms")
