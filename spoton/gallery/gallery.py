"""A gallery of people: who of them looks like this?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError
from spoton.gallery.file import Content, read, write
from spoton.gallery.rows import Device, ExactRows, Rows

PROTOTYPES = 8
"""Views kept of one person."""
_UNIT_WITHIN = 0.01
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Who looks most like each of Q queries, best first.

    people: (Q, k) names, empty where there is nobody more. scores: (Q, k) float32 inner product with the person's most
    similar prototype, -inf where there is nobody.
    """

    people: NDArray[np.object_]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.people)

    def of(self, query: int) -> list[tuple[str, float]]:
        """One query's people with their scores."""
        found = zip(self.people[query].tolist(), self.scores[query].tolist(), strict=True)
        return [(person, score) for person, score in found if person]


class Gallery:
    """People by what they look like; each has up to ``prototypes`` views, each view its time.

    dim: length of a look. model: which embedder makes the looks; looks of another one cannot be compared. prototypes:
    most views of one person. A further view takes the place of the older one of the two most similar views, itself
    included, so that what is kept stays as different as it can be. keep_s: a view is forgotten this long after it was
    taken, by the newest event time that was given to ``add`` or ``expire``; None: never. device: ``cpu``, or ``gpu``
    for searches on one.

    Search is exact: scores are plain inner products of what was added, no quantisation. Time arrives as data, and the
    same calls give the same gallery. Not for several threads at once.

    Raises InputError for arguments that make no sense, ModelError where FAISS, or its GPU side, is not there.
    """

    def __init__(
        self,
        dim: int,
        model: str,
        *,
        prototypes: int = PROTOTYPES,
        keep_s: float | None = None,
        device: Device = "cpu",
    ) -> None:
        for name, value in (("dim", dim), ("prototypes", prototypes)):
            if value < 1:
                raise InputError(f"gallery {name} = {value}", remedy="give a whole number of at least 1")
        if keep_s is not None and not keep_s > 0.0:
            raise InputError(f"gallery keep_s = {keep_s}", remedy="give seconds above 0, or None for ever")
        if device not in ("cpu", "gpu"):
            raise InputError(f"gallery device = {device!r}", remedy="choose cpu or gpu")
        self.dim, self.model, self.prototypes, self.keep_s = dim, model, prototypes, keep_s
        self.newest_us: int | None = None
        self._rows = ExactRows(dim, device)
        # Per row, with room for more than there are.
        self._owner = np.zeros(0, dtype=np.int32)
        self._at_us = np.zeros(0, dtype=np.int64)
        self._oldest_us = _NEVER
        # Per person, by a number that is given to somebody else when nobody has it any more.
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._places: list[list[int]] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        """Views of all people."""
        return len(self._rows)

    def __contains__(self, person: object) -> bool:
        return person in self._numbers

    def __iter__(self) -> Iterator[str]:
        """Everyone's names, those known longest first."""
        return iter(self._numbers)

    @property
    def people(self) -> int:
        """How many people have at least one view."""
        return len(self._numbers)

    def views(self, person: str) -> tuple[Rows, NDArray[np.int64]]:
        """A person's views (n, dim) and when each was taken, (n,) microseconds; empty for a stranger."""
        places = self._places_of(person)
        return self._rows.array()[places].copy(), self._at_us[places].copy()

    def add(self, people: Sequence[str], looks: NDArray[np.floating], at_us: int | Sequence[int]) -> None:
        """Take in looks (N, dim) of unit length, each of the person at the same position, in order.

        at_us: event time of each, or of all. All are checked first: after an error the gallery is as before.

        Raises InputError for another shape or length, for NaN and infinity, and for an empty name.
        """
        rows = self._checked("looks", looks)
        lengths = np.linalg.norm(rows, axis=1)
        if len(rows) and np.abs(lengths - 1.0).max() > _UNIT_WITHIN:
            odd = int(np.abs(lengths - 1.0).argmax())
            raise InputError(f"looks row {odd} has length {lengths[odd]:.3g}", remedy="give rows of unit length")
        times = np.broadcast_to(np.asarray(at_us, dtype=np.int64), (len(rows),))
        if len(people) != len(rows):
            raise InputError(f"{len(people)} people for {len(rows)} looks", remedy="give one name for each look")
        if not all(people):
            raise InputError("a person's name is empty", remedy="give every look the person it is of")
        if not len(rows):
            return
        self._add(people, rows, times)
        self.expire(int(times.max()))

    def search(self, looks: NDArray[np.floating], k: int = 1) -> Matches:
        """The ``k`` people who look most like each of the looks (Q, dim).

        Raises InputError for looks of another shape, for NaN and infinity, and for k below 1.
        """
        queries = self._checked("query", looks)
        if k < 1:
            raise InputError(f"k = {k} people to search for", remedy="give a whole number of at least 1")
        people = np.full((len(queries), k), "", dtype=object)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        if len(queries) and len(self):
            # Among so many rows there are k people, whosever they are, or all people there are.
            found, places = self._rows.search(queries, min(len(self), (k - 1) * self.prototypes + 1))
            owner = np.where(places >= 0, self._owner[places], -1)
            rank = _ranks(owner)
            query, column = np.nonzero((rank >= 0) & (rank < k) & (owner >= 0))
            where = query, rank[query, column]
            scores[where] = found[query, column]
            people[where] = [self._names[number] for number in owner[query, column].tolist()]
        return Matches(people, scores)

    def remove(self, people: Collection[str]) -> int:
        """Forget people; how many of their views there were. Strangers are no mistake."""
        places = [place for person in dict.fromkeys(people) for place in self._places_of(person)]
        self._drop(np.array(sorted(places), dtype=np.int64))
        return len(places)

    def merge(self, gone: str, stays: str) -> None:
        """Both were one person: ``stays`` gets the views of ``gone``, as if they were added now, oldest first."""
        if gone == stays or gone not in self:
            return
        rows, times = self.views(gone)
        self.remove([gone])
        order = np.argsort(times, kind="stable")
        self._add([stays] * len(order), rows[order], times[order])

    def expire(self, at_us: int) -> int:
        """It is ``at_us`` now: forget what is older than ``keep_s``; how many views that were."""
        self.newest_us = at_us if self.newest_us is None else max(self.newest_us, at_us)
        if self.keep_s is None or self._oldest_us >= self.newest_us - round(self.keep_s * 1e6):
            return 0
        times = self._at_us[: len(self)]
        over = np.flatnonzero(times < self.newest_us - round(self.keep_s * 1e6))
        self._drop(over)
        self._oldest_us = int(self._at_us[: len(self)].min(initial=_NEVER))
        return len(over)

    def save(self, path: Path) -> None:
        """Write everything into one file, whole or not at all, for the owner's eyes only.

        Raises InputError where it cannot be written.
        """
        count = len(self)
        # Numbers that nobody has leave gaps, which the file is spared.
        order = np.zeros(len(self._names), dtype=np.int32)
        order[list(self._numbers.values())] = np.arange(len(self._numbers), dtype=np.int32)
        write(
            path,
            Content(
                model=self.model, prototypes=self.prototypes, keep_s=self.keep_s, newest_us=self.newest_us,
                people=list(self._numbers), owner=order[self._owner[:count]], at_us=self._at_us[:count],
                rows=self._rows.array(),
            ),
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path, *, model: str | None = None, device: Device = "cpu") -> Gallery:
        """The gallery that ``save`` wrote; every search gives what it gave then.

        model: which embedder the queries will be of; None takes any.

        Raises InputError when the file is missing, damaged, of another version, or of another embedder.
        """
        content = read(path)
        if model is not None and content.model != model:
            raise InputError(
                f"{path}: holds looks of {content.model!r}, not of {model!r}",
                remedy=f"search with embedder {content.model!r}, or make the gallery anew",
            )
        dim = content.rows.shape[1]
        made = cls(dim, content.model, prototypes=content.prototypes, keep_s=content.keep_s, device=device)
        made.newest_us = content.newest_us
        made._numbers = {person: number for number, person in enumerate(content.people)}
        made._names, made._places = list(content.people), [[] for _ in content.people]
        for place, number in enumerate(content.owner.tolist()):
            made._places[number].append(place)
        made._append(content.rows, content.owner, content.at_us)
        return made

    def _checked(self, name: str, looks: NDArray[np.floating]) -> Rows:
        rows = np.asarray(looks, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise InputError(
                f"{name} of shape {list(rows.shape)}, this gallery holds looks of {self.model!r} of length {self.dim}",
                remedy=f"give shape [N, {self.dim}]",
            )
        if not np.isfinite(rows).all():
            broken = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise InputError(f"{name} row {broken} holds NaN or infinity", remedy="leave it out")
        return rows

    def _add(self, people: Sequence[str], rows: Rows, times: NDArray[np.int64]) -> None:
        waiting: list[int] = []
        owners: list[int] = []

        def settle() -> None:
            self._append(rows[waiting], np.array(owners, dtype=np.int32), times[waiting])
            waiting.clear()
            owners.clear()

        for index, person in enumerate(people):
            number = self._number(person)
            places = self._places[number]
            if len(places) < self.prototypes:
                places.append(len(self) + len(waiting))
                waiting.append(index)
                owners.append(number)
                continue
            if max(places) >= len(self):
                settle()
            place = self._redundant(places, rows[index], int(times[index]))
            if place is not None:
                self._rows.put(np.array([place]), rows[index : index + 1])
                self._at_us[place] = times[index]
                self._oldest_us = min(self._oldest_us, int(times[index]))
        if waiting:
            settle()

    def _redundant(self, places: list[int], row: Rows, at_us: int) -> int | None:
        """Which of a person's views a new one takes the place of; None where it is itself the one to do without."""
        order = sorted(places)
        views = np.concatenate([self._rows.array()[order], row[None]])
        alike = views @ views.T
        alike[np.tril_indices(len(views))] = -np.inf
        first, second = divmod(int(alike.argmax()), len(views))
        times = [*self._at_us[order].tolist(), at_us]
        older = first if times[first] <= times[second] else second
        return order[older] if older < len(order) else None

    def _append(self, rows: Rows, owner: NDArray[np.int32], times: NDArray[np.int64]) -> None:
        start, end = len(self), len(self) + len(rows)
        self._owner, self._at_us = _roomy(self._owner, end), _roomy(self._at_us, end)
        self._owner[start:end], self._at_us[start:end] = owner, times
        self._oldest_us = min(self._oldest_us, int(times.min(initial=_NEVER)))
        self._rows.append(rows)

    def _drop(self, places: NDArray[np.int64]) -> None:
        """Remove rows, ascending; the last ones take their places."""
        count = len(self) - len(places)
        tail = np.arange(count, len(self))
        moved = tail[~np.isin(tail, places)]
        holes = places[: len(moved)]
        for place in places.tolist():
            number = int(self._owner[place])
            self._places[number].remove(place)
            if not self._places[number]:
                del self._numbers[self._names[number]]
                self._free.append(number)
        for old, new in zip(moved.tolist(), holes.tolist(), strict=True):
            mine = self._places[int(self._owner[old])]
            mine[mine.index(old)] = new
        if len(moved):
            self._rows.put(holes, self._rows.array()[moved])
            self._owner[holes], self._at_us[holes] = self._owner[moved], self._at_us[moved]
        self._rows.keep_first(count)

    def _places_of(self, person: str) -> list[int]:
        number = self._numbers.get(person)
        return self._places[number] if number is not None else []

    def _number(self, person: str) -> int:
        number = self._numbers.get(person)
        if number is None:
            if self._free:
                number = self._free.pop()
                self._names[number] = person
            else:
                number = len(self._names)
                self._names.append(person)
                self._places.append([])
            self._numbers[person] = number
        return number


def _ranks(owner: NDArray[np.int32]) -> NDArray[np.intp]:
    """Of rows (Q, M), best first: where each stands among its query's people, -1 for all but a person's best row."""
    order = np.argsort(owner, axis=1, kind="stable")
    grouped = np.take_along_axis(owner, order, axis=1)
    first = np.ones(owner.shape, dtype=np.bool_)
    first[:, 1:] = grouped[:, 1:] != grouped[:, :-1]
    best = np.zeros(owner.shape, dtype=np.bool_)
    np.put_along_axis(best, order, first, axis=1)
    return np.where(best, np.cumsum(best, axis=1) - 1, -1)


def _roomy(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The array with room for ``size`` values, and more, so that growing bit by bit stays cheap."""
    if size <= len(array):
        return array
    grown = np.zeros(max(size, 2 * len(array)), dtype=array.dtype)
    grown[: len(array)] = array
    return grown
