"""How a worker speaks to its operator: one line per happening, on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import structlog

QUIET = ("faust", "mode", "aiokafka", "asyncio", "asyncpg", "aiohttp.access")
"""Libraries of which only warnings and worse are shown."""


def configure(*, for_people: bool = False, quiet: Sequence[str] = QUIET) -> None:
    """Readable lines on a terminal or ``for_people``, JSON elsewhere."""
    terminal = for_people or sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
            if terminal
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)
