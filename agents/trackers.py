"""The trackers of a worker's cameras: kept in the table, and brought up to date from the facts after a takeover."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from zlib import crc32

from spoton import tracks
from spoton.events import DetectionEvent
from tables.packed import PackedTable

Facts = Callable[[str, int], Awaitable[Sequence[DetectionEvent]]]
"""What was recorded of a site's cameras, in order, from an event time (microseconds UTC; -1: unknown) on."""


class Trackers:
    """Each camera's tracker, as far as its recorded events go.

    Where facts and table are not one transaction, another worker may have recorded events that its table never knew
    of. Deciding those frames again could decide them differently, so what was recorded is folded in first. That also
    lets the table be written at most every ``keep_every_s`` of event time: it is where recovery starts, not where it
    ends.

    facts: None where table and facts always agree.
    """

    def __init__(self, table: PackedTable[tracks.State], facts: Facts | None = None, keep_every_s: float = 1.0) -> None:
        self._table = table
        self._facts = facts
        self._keep_every_us = round(keep_every_s * 1e6)
        self._states: dict[str, tracks.State] = {}
        self._kept_at: dict[str, int] = {}
        self._recorded: dict[str, list[DetectionEvent]] = {}
        self._read: set[str] = set()

    def forget(self) -> None:
        """Cameras may have been another worker's meanwhile: begin from table and facts again."""
        for held in (self._states, self._kept_at, self._recorded, self._read):
            held.clear()

    async def get(self, key: str) -> tracks.State:
        """The tracker of a camera (``site/camera``)."""
        if self._facts is None:
            return self._table.get(key, tracks.initial)
        state = self._states.get(key)
        if state is None:
            state = await self._caught_up(key, self._facts)
            self._states[key] = state
        return state

    def keep(self, states: Mapping[str, tracks.State]) -> None:
        """Remember the trackers after their events were recorded."""
        if self._facts is None:
            self._table.set_all(states)
            return
        for key, state in states.items():
            self._states[key] = state
            due_us = self._kept_at.get(key)
            if due_us is None or state.at >= due_us + self._keep_every_us or not state.online:
                self._table.set(key, state)
                # Each camera has its own moment from then on: all at once would hold up every frame of that moment.
                early_us = crc32(key.encode()) % self._keep_every_us if due_us is None and self._keep_every_us else 0
                self._kept_at[key] = state.at - early_us

    async def _caught_up(self, key: str, facts: Facts) -> tracks.State:
        state = self._table.get(key, tracks.initial)
        site = key.split("/", 1)[0]
        if site not in self._read:
            known = [other.at for name, other in self._table.items() if name.startswith(f"{site}/")]
            for fact in await facts(site, min(known, default=-1)):
                self._recorded.setdefault(f"{site}/{fact.camera}", []).append(fact)
            self._read.add(site)
        for fact in self._recorded.pop(key, ()):
            # Of two that claim one place in the sequence the first counts, here as for everybody who reads them.
            if fact.seq == state.seq + 1:
                state = tracks.evolve(state, fact)
        return state
