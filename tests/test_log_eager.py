"""A coroutine that is run at once goes on as if nothing had happened."""

from __future__ import annotations

import asyncio

import pytest

from spoton.engine.eager import Started


async def test_what_need_not_wait_is_done_at_once():
    steps = []

    async def work():
        async with asyncio.Lock():
            steps.append("done")

    assert Started(work()).done
    assert steps == ["done"]


async def test_what_waits_goes_on_when_it_can():
    gate, steps = asyncio.Event(), []

    async def work():
        steps.append("begun")
        await asyncio.sleep(0)
        await gate.wait()
        await asyncio.sleep(0.001)
        steps.append("done")

    started = Started(work())
    assert (started.done, steps) == (False, ["begun"])
    task = asyncio.create_task(started.rest())
    await asyncio.sleep(0.01)
    assert steps == ["begun"]
    gate.set()
    await task
    assert steps == ["begun", "done"]


async def test_cancelling_reaches_it():
    steps = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("cleaned up")

    task = asyncio.create_task(Started(work()).rest())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cleaned up"]


async def test_an_error_it_waits_for_can_be_caught_inside():
    failing, steps = asyncio.get_running_loop().create_future(), []

    async def work():
        try:
            await failing
        except ValueError:
            steps.append("caught")
        await asyncio.sleep(0)
        raise KeyError("after")

    started = Started(work())
    failing.set_exception(ValueError())
    with pytest.raises(KeyError, match="after"):
        await started.rest()
    assert steps == ["caught"]


async def test_an_error_before_it_waits_comes_at_once():
    async def work():
        raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        Started(work())
