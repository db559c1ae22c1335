"""The clock: does it run evenly, is it kept right, and do the servers agree with it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from spoton.doctor.finding import Finding

SUBJECT = "clock"
WATCHED_S = 0.5
STEP_S = 0.01
"""Wall clock and monotonic clock may part by this much while they are watched: slewing moves 0.5 ms a second."""
SKEW_WARNED_S = 0.1
"""The design's bound from a frame to its live client; ages and lags are wrong by the skew."""
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


@dataclass(frozen=True, slots=True)
class Kept:
    """What the kernel knows of its clock's synchronisation. most_off_s: its own bound on the error."""

    synchronised: bool
    most_off_s: float


async def watch() -> float:
    """Seconds that the wall clock went further than the monotonic one while it was watched."""
    wall_s, even_s = time.time(), time.monotonic()
    await asyncio.sleep(WATCHED_S)
    return (time.time() - wall_s) - (time.monotonic() - even_s)


def kept() -> Kept | None:
    """Ask the kernel by ``adjtimex(2)``, which reads when no mode is set; None where that is refused or not Linux."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    # struct timex on 64 bits: int modes; long offset, freq, maxerror, esterror; int status; ... 208 bytes in all.
    buffer = ctypes.create_string_buffer(208)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    most_off_us = int.from_bytes(buffer.raw[24:32], sys.byteorder, signed=True)
    status = int.from_bytes(buffer.raw[40:44], sys.byteorder)
    return Kept(state != _TIME_ERROR and not status & _STA_UNSYNC, most_off_us / 1e6)


def judge(jumped_s: float, by_kernel: Kept | None, ahead_s: Mapping[str, float]) -> Finding:
    """The finding; pure. ahead_s: by how much each server's clock is ahead of this one."""
    skews = ", ".join(f"{name} {skew:+.3f} s" for name, skew in ahead_s.items())
    worst = max(ahead_s, key=lambda name: abs(ahead_s[name]), default="")
    if worst and abs(ahead_s[worst]) > SKEW_WARNED_S:
        remedy = "let both machines keep time by the same NTP servers"
        return Finding(SUBJECT, "warning", f"other clocks differ: {skews}", remedy)
    if abs(jumped_s) > STEP_S:
        found = f"the wall clock jumped by {jumped_s:+.3f} s within {WATCHED_S:g} s"
        return Finding(SUBJECT, "warning", found, "let one program alone set the time, by slewing: chrony or timesyncd")
    agreed = f"; servers: {skews}" if skews else ""
    if by_kernel is None:
        return Finding(SUBJECT, "ok", f"runs evenly; the kernel does not say whether it is synchronised{agreed}")
    if not by_kernel.synchronised:
        where = "on the host: " if os.path.exists("/.dockerenv") else ""
        return Finding(
            SUBJECT, "warning", f"runs evenly, but the kernel calls it unsynchronised{agreed}",
            f"{where}timedatectl set-ntp true, or start chrony; without it machines drift apart",
        )  # fmt: skip
    return Finding(SUBJECT, "ok", f"synchronised, at most {by_kernel.most_off_s * 1e3:.0f} ms off{agreed}")
