"""Typed reading of one TOML table, where every mistake names file, key, value and remedy."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from typing import Any

from spoton.errors import SiteError
from spoton.site import Matrix3, Point


class Shown(str):
    """Text that stands in a message as it is, without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


MISSING = Shown("(missing)")


class Table:
    """One table of a TOML file, read key by key; unknown keys are refused at once.

    where: how the table is called in messages, for example ``camera "north"``; empty at the top.
    """

    def __init__(self, file: str, where: str, raw: object, known: Collection[str]) -> None:
        self.file = file
        self.where = where
        if not isinstance(raw, dict):
            raise SiteError(file, where, raw, "is no table", remedy=f"write it as [{where}]")
        self.raw: Mapping[str, Any] = raw
        for key in raw:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
                raise self.wrong(key, "is no known key", hint)

    def __contains__(self, key: str) -> bool:
        return key in self.raw

    def path(self, key: str) -> str:
        """The key as messages call it."""
        return f"{self.where}.{key}" if self.where else key

    def wrong(self, key: str, problem: str, remedy: str, value: object = None) -> SiteError:
        """The error to raise about a key; the value is the one given there unless another is handed in."""
        at_fault = self.raw.get(key, MISSING) if value is None else value
        return SiteError(self.file, self.path(key), at_fault, problem, remedy=remedy)

    def text(self, key: str, example: str) -> str:
        """A required string with something in it."""
        given = self._needed(key, example)
        if not isinstance(given, str) or not given.strip():
            raise self.wrong(key, "is no text", f"write {key} = {example}")
        return given

    def optional_text(self, key: str, example: str) -> str | None:
        """A string, None where the key is not given."""
        return self.text(key, example) if key in self.raw else None

    def flag(self, key: str) -> bool:
        """true or false; false where the key is not given."""
        given = self.raw.get(key, False)
        if not isinstance(given, bool):
            raise self.wrong(key, "is neither true nor false", f"write {key} = true")
        return given

    def number(self, key: str, low: float, high: float, unit: str) -> float | None:
        """A number from low to high, None where the key is not given."""
        if key not in self.raw:
            return None
        number = as_number(self.raw[key])
        if number is None:
            raise self.wrong(key, "is no number", f"give {unit} from {low:g} to {high:g}")
        if not low <= number <= high:
            raise self.wrong(key, "is out of range", f"give {unit} from {low:g} to {high:g}")
        return number

    def numbers(self, key: str, count: int, example: str) -> tuple[float, ...]:
        """A required list of so many finite numbers."""
        given = self._needed(key, example)
        row = as_numbers(given, count)
        if row is None:
            raise self.wrong(key, f"is no list of {count} finite numbers", f"write {key} = {example}")
        return row

    def point(self, key: str, example: str) -> Point:
        """Two finite numbers."""
        x, y = self.numbers(key, 2, example)
        return x, y

    def matrix(self, key: str) -> Matrix3:
        """Three rows of three finite numbers."""
        example = "[[..., ..., ...], [..., ..., ...], [..., ..., ...]]"
        given = self._needed(key, example)
        rows = [as_numbers(row, 3) for row in given] if isinstance(given, list) else []
        complete = [(row[0], row[1], row[2]) for row in rows if row is not None]
        if len(rows) != 3 or len(complete) != 3:
            raise self.wrong(key, "is no 3 by 3 matrix of finite numbers", f"write {key} = {example}, row by row")
        return complete[0], complete[1], complete[2]

    def items(self, key: str, example: str) -> list[Any]:
        """A list that is not empty."""
        given = self._needed(key, example)
        if not isinstance(given, list) or not given:
            raise self.wrong(key, "is no list with something in it", f"write {example}")
        return given

    def _needed(self, key: str, example: str) -> Any:
        if key not in self.raw:
            raise self.wrong(key, "is needed", f"write {key} = {example}")
        return self.raw[key]


def as_number(given: object) -> float | None:
    """A finite float from a TOML integer or float; None from anything else."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    try:
        number = float(given)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_numbers(given: object, count: int | None = None) -> tuple[float, ...] | None:
    """A tuple of finite floats, of one length if one is asked for; None from anything else."""
    if not isinstance(given, list) or (count is not None and len(given) != count):
        return None
    numbers = tuple(number for number in map(as_number, given) if number is not None)
    return numbers if len(numbers) == len(given) else None
