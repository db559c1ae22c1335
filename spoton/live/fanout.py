"""From one state to many clients, each at its own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from spoton.live.messages import Interest, LiveMessage, Snapshot, narrow

QUEUE_SIZE = 128

_encoder = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> str:
    """The message as one JSON object."""
    return _encoder.encode(message).decode()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the fan-out did so far. dropped: messages that slow clients did not get, each replaced by a snapshot."""

    clients: int
    published: int
    dropped: int


class Subscription:
    """One client's messages as JSON texts, an asynchronous iterator that begins with a snapshot.

    Its queue is its own and bounded: when it is full, everything waiting in it gives way to one fresh snapshot.
    """

    def __init__(
        self,
        interest: Interest,
        fresh: Callable[[str], Snapshot],
        leave: Callable[[Subscription], None],
        queue_size: int,
    ) -> None:
        self.dropped = 0
        self._interest = interest
        self._fresh = fresh
        self._leave = leave
        self._size = queue_size
        self._waiting: deque[str] = deque()
        self._snapshot_due: str | None = "connected"
        self._closed = False
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def interest(self) -> Interest:
        """What this client wants to hear of."""
        return self._interest

    def want(self, interest: Interest) -> None:
        """Change what the client hears of; a snapshot of it comes next."""
        self._interest = interest
        self._renew("subscribed")

    def offer(self, message: LiveMessage, text: Callable[[], str]) -> None:
        """Take a message in, never waiting. text: gives the whole message's JSON, shared between clients."""
        if self._closed:
            return
        if self._snapshot_due is not None:
            # the snapshot still to come will hold this already
            self.dropped += self._snapshot_due == "fell_behind"
            return
        part = narrow(message, self._interest)
        if part is None:
            return
        if len(self._waiting) >= self._size:
            self.dropped += len(self._waiting) + 1
            self._renew("fell_behind")
            return
        self._waiting.append(text() if part is message else encode(part))
        self._wake.set()

    def close(self) -> None:
        """End the iteration after what is already waiting; safe to call twice."""
        self._closed = True
        self._wake.set()
        self._leave(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> str:
        """The next message. Cancelling the wait loses nothing."""
        while True:
            if self._snapshot_due is not None and not self._closed:
                reason, self._snapshot_due = self._snapshot_due, None
                part = narrow(self._fresh(reason), self._interest)
                assert part is not None
                return encode(part)
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()

    def _renew(self, reason: str) -> None:
        self._waiting.clear()
        self._snapshot_due = reason
        self._wake.set()


class Fanout:
    """All clients of one state. Publishing is synchronous and costs one encoding, however many clients listen."""

    def __init__(self, fresh: Callable[[str], Snapshot]) -> None:
        self._fresh = fresh
        self._subscriptions: set[Subscription] = set()
        self._published = 0
        self._dropped_by_gone = 0

    @property
    def seq(self) -> int:
        """Number of the newest message; it counts on while nobody listens."""
        return self._published

    def next_seq(self) -> int:
        """Number for the message about to be published."""
        self._published += 1
        return self._published

    def subscribe(self, interest: Interest, queue_size: int = QUEUE_SIZE) -> Subscription:
        """A new client."""
        subscription = Subscription(interest, self._fresh, self._gone, queue_size)
        self._subscriptions.add(subscription)
        return subscription

    def publish(self, message: LiveMessage) -> None:
        """Hand a message to every client."""
        whole: list[str] = []

        def text() -> str:
            if not whole:
                whole.append(encode(message))
            return whole[0]

        for subscription in self._subscriptions:
            subscription.offer(message, text)

    def listening(self) -> bool:
        """True when there is anyone to publish to."""
        return bool(self._subscriptions)

    def traffic(self) -> Traffic:
        """Counts so far."""
        dropped = self._dropped_by_gone + sum(one.dropped for one in self._subscriptions)
        return Traffic(len(self._subscriptions), self._published, dropped)

    def _gone(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.discard(subscription)
            self._dropped_by_gone += subscription.dropped
