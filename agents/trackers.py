"""The trackers of a worker's cameras: kept in the table, and brought up to date from the facts after a takeover."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
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
    lets the table be written at most every ``keep_every_s``, by this machine's clock also where a backlog is worked off
    faster than it came: it is where recovery starts, not where it ends.

    While the events of one decision are on their way the next one is made from what was ``decided``.

    facts: None where table and facts always agree.
    """

    def __init__(self, table: PackedTable[tracks.State], facts: Facts | None = None, keep_every_s: float = 1.0) -> None:
        self._table = table
        self._facts = facts
        self._keep_every_s = keep_every_s
        self._decided: dict[str, tracks.State] = {}
        self._states: dict[str, tracks.State] = {}
        self._kept_at_s: dict[str, float] = {}
        self._recorded: dict[str, list[DetectionEvent]] = {}
        self._read: set[str] = set()

    def forget(self) -> None:
        """Cameras may have been another worker's meanwhile: begin from table and facts again."""
        for held in (self._decided, self._states, self._kept_at_s, self._recorded, self._read):
            held.clear()

    async def get(self, key: str) -> tracks.State:
        """The newest tracker of a camera (``site/camera``)."""
        decided = self._decided.get(key)
        if decided is not None:
            return decided
        if self._facts is None:
            return self._table.get(key, tracks.initial)
        state = self._states.get(key)
        if state is None:
            state = await self._caught_up(key, self._facts)
            self._states[key] = state
        return state

    def decided(self, states: Mapping[str, tracks.State]) -> None:
        """What the next frames are decided from; their events are not recorded yet."""
        self._decided.update(states)

    def keep(self, states: Mapping[str, tracks.State]) -> None:
        """Remember the trackers after their events were recorded."""
        for key, state in states.items():
            if self._decided.get(key) is state:
                del self._decided[key]
        if self._facts is None:
            self._table.set_all(states)
            return
        now_s = monotonic()
        for key, state in states.items():
            self._states[key] = state
            kept_at_s = self._kept_at_s.get(key)
            if kept_at_s is None or now_s >= kept_at_s + self._keep_every_s or not state.online:
                self._table.set(key, state)
                # Each camera has its own moment from then on: all at once would hold up every frame of that moment.
                early = crc32(key.encode()) / 2**32 if kept_at_s is None else 0.0
                self._kept_at_s[key] = now_s - early * self._keep_every_s

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
