"""Which frame of the file a decoded picture is, even where the file is damaged."""

from __future__ import annotations

from heapq import heappop, heappush


class Numbering:
    """Counts decoded frames in presentation order.

    In a sound file the n-th picture that leaves the decoder is frame n. Where packets are damaged the decoder
    swallows pictures, so from the first damage on the count also takes in those packets that should have been
    shown before the picture at hand but never came out: the number stays that of the undamaged file. This holds
    where one packet carries one picture, which the sound part of the file shows; elsewhere every picture counts one.
    Packets before the first picture that decodes are not counted: numbering begins there, as every player does.
    """

    def __init__(self) -> None:
        self._number = -1
        self._waiting: list[int] = []
        self._paired = True
        self._damaged = False

    def packet(self, pts: int | None) -> None:
        """A packet with presentation time ``pts`` (stream ticks) goes into the decoder."""
        if pts is not None:
            heappush(self._waiting, pts)

    def damage(self) -> None:
        """The decoder complained about a packet."""
        self._damaged = self._damaged or self._number >= 0

    def frame(self, pts: int | None) -> int:
        """0-based number of the picture with presentation time ``pts`` that just left the decoder."""
        passed = self._passed(pts)
        if self._number < 0:
            self._number = 0
            return 0
        if not self._damaged:
            self._paired = self._paired and passed == 1
        self._number += passed if self._damaged and self._paired and passed > 1 else 1
        return self._number

    def _passed(self, pts: int | None) -> int:
        passed = 0
        while pts is not None and self._waiting and self._waiting[0] <= pts:
            heappop(self._waiting)
            passed += 1
        return passed
