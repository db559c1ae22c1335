"""What the API asks of history; ``spoton.history`` answers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from spoton.errors import HistoryError


class History(Protocol):
    """Every method raises HistoryError when the database does not answer. Times are microseconds, [from, to)."""

    async def ping(self) -> float:
        """Milliseconds for one round trip."""
        ...

    async def persons(
        self, site: str, *, at_from_us: int | None = None, at_to_us: int | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Who was there, earliest first."""
        ...

    async def trajectory(
        self,
        site: str,
        person: str,
        *,
        at_from_us: int | None = None,
        at_to_us: int | None = None,
        limit: int = 10_000,
    ) -> list[dict[str, Any]]:
        """Where one person was, oldest first."""
        ...

    async def correctable(self, site: str, event: str) -> str | None:
        """A merge, split or reassignment by its id, as its JSON text; None when there is none."""
        ...

    async def lineage(self, site: str, person: str) -> list[str]:
        """The other identities that proved to be this person."""
        ...

    async def events(
        self,
        site: str,
        *,
        at_from_us: int | None = None,
        at_to_us: int | None = None,
        types: Sequence[str] = (),
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[list[str], str | None]:
        """Events as their JSON texts, oldest first, and the next page's cursor; InputError for a bad cursor."""
        ...


class NoHistory:
    """Stands where no database is configured; every question says so."""

    async def ping(self) -> float:
        """Refuse."""
        raise self._refusal()

    async def persons(self, site: str, **_: Any) -> list[dict[str, Any]]:
        """Refuse."""
        raise self._refusal()

    async def trajectory(self, site: str, person: str, **_: Any) -> list[dict[str, Any]]:
        """Refuse."""
        raise self._refusal()

    async def correctable(self, site: str, event: str) -> str | None:
        """Refuse."""
        raise self._refusal()

    async def lineage(self, site: str, person: str) -> list[str]:
        """Refuse."""
        raise self._refusal()

    async def events(self, site: str, **_: Any) -> tuple[list[str], str | None]:
        """Refuse."""
        raise self._refusal()

    @staticmethod
    def _refusal() -> HistoryError:
        return HistoryError("no history database is configured", remedy="start with --database postgresql://...")
