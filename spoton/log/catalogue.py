"""Which topics there are, their partitions, and where each partition stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from faust.types.tuples import TP

from spoton.errors import InputError
from spoton.log.record import PARTITIONS_MAX, TOPICS_MAX, Topic
from spoton.log.ring import Ring, Rings
from spoton.log.settings import LogSettings


@dataclass
class Lane:
    """One partition.

    Attributes:
        tp: topic and partition.
        topic: its durable topic, or ``None`` for a topic in memory.
        next: the offset that the next append gets.
        end: the offset after the newest record that readers see.
        ring: newest records in memory, if any are kept.
    """

    tp: TP
    topic: Topic | None
    next: int
    end: int
    ring: Ring | None = None


class Catalogue:
    """The topics of one log, durable ones and those in memory."""

    def __init__(self, settings: LogSettings, memory: Rings) -> None:
        self.lanes: dict[TP, Lane] = {}
        self._settings = settings
        self._memory = memory
        self._topics: dict[str, Topic] = {}
        self._counts: dict[str, int] = {}

    def load(self, topics: list[Topic], end_of: Callable[[Topic, int], int]) -> None:
        """Take over the durable topics of a file, with the next offset of each partition."""
        for topic in topics:
            self._enter(topic, end_of)

    def partitions(self, name: str) -> int | None:
        """How many partitions a topic has, ``None`` if there is no such topic."""
        return self._counts.get(name)

    def declare(self, name: str, partitions: int, retention_s: float | None, compacting: bool) -> Topic | None:
        """Make or change a topic; returns the durable topic to write down if anything changed.

        Raises:
            InputError: the number of partitions is out of range, or the log has all the topics it can have.
        """
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InputError(f"topic {name!r}: {partitions} partitions", remedy=f"give 1 to {PARTITIONS_MAX}")
        if name in self._settings.memory_topics:
            self._declare_in_memory(name, partitions)
            return None
        keep_s = None if compacting else (retention_s or self._settings.retention_s)
        keep_ms = None if keep_s is None else max(1, round(keep_s * 1000))
        known = self._topics.get(name)
        if known is None:
            number = max((topic.number for topic in self._topics.values()), default=0) + 1
            if number > TOPICS_MAX:
                raise InputError(f"topic {name!r} would be number {number}", remedy=f"a log has at most {TOPICS_MAX}")
            topic = Topic(number, name, partitions, keep_ms, compacting)
        elif self._holds_records(known):
            # Its partitions and its kind stay: moving keys would part tables from their changelogs.
            topic = known._replace(retention_ms=keep_ms) if known.compacting == compacting else known
        else:
            topic = known._replace(partitions=partitions, retention_ms=keep_ms, compacting=compacting)
        if topic == known:
            return None
        self._enter(topic, lambda _topic, _partition: 0)
        return topic

    def _enter(self, topic: Topic, end_of: Callable[[Topic, int], int]) -> None:
        self._topics[topic.name] = topic
        self._counts[topic.name] = topic.partitions
        for number in range(topic.partitions):
            tp = TP(topic.name, number)
            lane = self.lanes.get(tp)
            if lane is None:
                end = end_of(topic, number)
                self.lanes[tp] = Lane(tp, topic, end, end)
            else:
                lane.topic = topic

    def _declare_in_memory(self, name: str, partitions: int) -> None:
        count = self._counts.setdefault(name, partitions)
        for number in range(count):
            tp = TP(name, number)
            if tp not in self.lanes:
                self.lanes[tp] = Lane(tp, None, 0, 0, self._memory.ring(name, number))

    def _holds_records(self, topic: Topic) -> bool:
        return any(self.lanes[TP(topic.name, number)].next for number in range(topic.partitions))
