"""A guard for Faust's consumers: after a table's recovery no record is lost.

Faust 0.15 lets the streams' partitions flow again before it seeks to their committed offsets
(``Recovery.on_recovery_completed``). What comes in between goes into queues that are emptied when the flow resumes.
Without a committed offset nothing is read again, and with one the rest of the batch in hand moves the read offset on,
so that what is read again counts as known. Either way records vanish, and the gap is later committed as if compacted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from faust.types.tuples import TP


class SeekAtRest:
    """Mix in before a Faust consumer: it seeks while nothing is read, and drops what was read before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fetching = asyncio.Lock()
        self._seeks = 0
        self._seeks_at_fetch = 0

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, Any]:  # noqa: ASYNC109
        async with self._fetching:
            self._seeks_at_fetch = self._seeks
            base: Any = super()
            found: Mapping[TP, Any] = await base._getmany(active_partitions=active_partitions, timeout=timeout)
            return found

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109
        """Records read since the last seek."""
        base: Any = super()
        async for one in base.getmany(timeout):
            if self._seeks_at_fetch != self._seeks:
                return
            yield one

    async def perform_seek(self) -> None:
        """Stop the flow, wait for the fetch in hand, go back to what is committed; the caller resumes the flow."""
        base: Any = super()
        me: Any = self
        me.stop_flow()
        async with self._fetching:
            self._seeks += 1
            await base.perform_seek()
            if me.app.conf.consumer_auto_offset_reset == "earliest":
                await self._seek_uncommitted()

    async def _seek_uncommitted(self) -> None:
        me: Any = self
        fresh = [tp for tp in me.assignment() if me._read_offset[tp] is None and not me._is_changelog_tp(tp)]
        if fresh:
            for tp, offset in (await me.earliest_offsets(*fresh)).items():
                await me._seek(tp, offset)
