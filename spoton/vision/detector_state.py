"""How detectors are doing: what they may take, what they took, how often they failed."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from spoton.vision.halving import BatchLimit
from spoton.vision.protocols import Detector


@dataclass(frozen=True, slots=True)
class DetectorNow:
    """One detector. cameras: that it looks at. batch: most pictures in one run; None where it takes one at a time.

    out_of_memory: times that a batch did not fit and was halved. failures: frames on which it failed.
    gpu_peak_bytes: the most that it had allocated on a GPU, where PyTorch tells.
    """

    name: str
    cameras: int
    batch: int | None
    out_of_memory: int
    failures: int
    gpu_peak_bytes: int | None = None

    @classmethod
    def of(cls, name: str, detectors: Sequence[Detector], failures: int) -> DetectorNow:
        """Of all detectors of one name, one for each camera that it looks at."""
        each = {id(detector): detector for detector in detectors}.values()
        limits = [limit for one in each if isinstance(limit := getattr(one, "limit", None), BatchLimit)]
        peaks = [peak for one in each if (peak := _gpu_peak_bytes(one)) is not None]
        return cls(
            name=name,
            cameras=len(detectors),
            batch=min((limit.most for limit in limits), default=None),
            out_of_memory=sum(limit.out_of_memory for limit in limits),
            failures=failures,
            gpu_peak_bytes=max(peaks, default=None),
        )


def _gpu_peak_bytes(detector: Detector) -> int | None:
    device = getattr(detector, "device", None)
    if device is None or not getattr(detector, "on_gpu", False):
        return None
    from spoton.vision.torch_device import memory_peak_bytes

    return memory_peak_bytes(device)


def resident_peak_bytes() -> int:
    """The most memory that this process has had resident so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The kernel adds up the peak less often than what is resident now.
    return max(peak if sys.platform == "darwin" else peak * 1024, int(psutil.Process().memory_info().rss))
