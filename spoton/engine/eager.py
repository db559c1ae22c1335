"""Run a coroutine at once as far as it goes, so that what need not wait costs no task."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any


class Started:
    """A coroutine that has been run up to where it first waits.

    Attributes:
        done: it has returned; otherwise await ``rest()`` for what remains of it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self.done = False
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration:
            self.done = True

    async def rest(self) -> None:
        """Go on from where the coroutine waits."""
        await _resumed(self._coroutine, self._waits_for)


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    # What `yield from` does, one step later: the task that awaits this takes over what the coroutine waits for.
    while True:
        thrown: BaseException | None = None
        sent: Any = None
        try:
            sent = yield waits_for
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            thrown = error
        try:
            waits_for = coroutine.send(sent) if thrown is None else coroutine.throw(thrown)
        except StopIteration:
            return
