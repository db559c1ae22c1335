"""Who is gone for good, so that a position which arrives after that does not bring them back."""

from __future__ import annotations

REMEMBERED_US = 60_000_000
"""Streams of one site may arrive this far apart."""


class Departed:
    """Persons who left or were merged into another, by event time; forgotten when no stream can lag so far."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def note(self, person: str, at_us: int) -> None:
        """This person is gone since then."""
        self._at = {one: when for one, when in self._at.items() if at_us - when < REMEMBERED_US}
        self._at[person] = at_us

    def back(self, person: str) -> None:
        """This person is there after all: a merge was taken back."""
        self._at.pop(person, None)

    def gone(self, person: str, at_us: int) -> bool:
        """Whether this person was gone at that time; who is seen after they left has come back."""
        return at_us <= self._at.get(person, at_us - 1)
