"""What a check found, and how long it may look for it."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from spoton.errors import SpotOnError

Verdict = Literal["ok", "warning", "fault"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    subject: what was looked at. found: what is there. remedy: what to do about it; empty when all is well.
    """

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


async def settled(subject: str, check: Awaitable[Finding], *, limit_s: float, remedy: str) -> Finding:
    """The check's finding; a fault when it fails or takes longer than ``limit_s``."""
    try:
        return await asyncio.wait_for(check, limit_s)
    except TimeoutError:
        return Finding(subject, "fault", f"no answer within {limit_s:g} s", remedy)
    except SpotOnError as error:
        return Finding(subject, "fault", error.problem, error.remedy or remedy)
    except OSError as error:
        return Finding(subject, "fault", reason(error), remedy)
    except (ValueError, ImportError) as error:
        return Finding(subject, "fault", str(error) or type(error).__name__, remedy)


def reason(error: OSError) -> str:
    """What the operating system says, without the addresses that asyncio puts around it."""
    if error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else error.strerror or str(error)
    # A name with several addresses, none of which answered: asyncio lists every attempt in one text.
    attempts = {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
    return ", ".join(map(os.strerror, sorted(attempts))) or str(error) or type(error).__name__


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread that the end of the program does not wait for: a dead disk may hold it for ever."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[[Any], None], what: Any) -> None:
        if not done.done():
            set_it(what)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (done.set_result, work())
        except Exception as error:
            outcome = (done.set_exception, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, daemon=True, name="doctor").start()
    return await done
