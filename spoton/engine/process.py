"""What a process that runs the engine sets once, before anything else."""

from __future__ import annotations

import gc


def tune() -> None:
    """Look for cycles of garbage seldom: events are many, and none of them is part of a cycle.

    With Python's own thresholds every few hundred decoded events start a search through all that are waiting.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
