"""What everyone is known to look like, and what they have looked like since that was last made sure of.

A *portrait* belongs to an identity and grows only by impressions that were found to be of that person. An *impression*
belongs to whoever stands there: the mean of the looks taken since it was last held against the portraits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.association import near_pairs
from spoton.crowd import Crowd
from spoton.likeness import Likeness, weighed
from spoton.sightings import Sightings
from spoton.walking import Pace, Way

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Halves = NDArray[np.float16]
Bools = NDArray[np.bool_]

MET_M = 2.0
"""People who were this near to each other may have been mistaken for each other."""
APART, FAR = 50, 10
"""Who was seen in so many ticks beside somebody is another, and a tick at a distance counts for so many: one person may
be seen twice for less, and for a moment somebody else may be taken for them."""
_MET_US = 60_000_000
_SEEN_US = 1_000_000
_WEIGHT = 60.0


class Portraits(msgspec.Struct, frozen=True):
    """number: (K,) ascending. look: (K, D) unit rows, count: (K,) looks in each. since_us: (K,) from when on each is
    known; sure_us: (K,) until when it was sure that who was there was this person. together: (K, K) in how many ticks
    who was seen beside whom, those at a distance ``FAR`` times; ``APART`` for who is not them.
    """

    number: Ints
    look: Halves
    count: Ints
    since_us: Ints
    sure_us: Ints
    together: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.number)


class Impressions(msgspec.Struct, frozen=True):
    """uid: (N,) ascending. look: (N, D) means of unit rows, count: (N,) looks in each; since_us, last_us: (N,) of the
    first and the last.
    """

    uid: Ints
    look: NDArray[np.float32]
    count: Ints
    since_us: Ints
    last_us: Ints

    def __len__(self) -> int:
        return len(self.uid)


class Album(msgspec.Struct, frozen=True):
    """Portraits and impressions by one embedder, what distances of impressions say and what those of a first look do,
    which numbers were near each other when last, the lower first, and how long people take to walk.
    """

    model: str = ""
    portraits: Portraits = msgspec.field(default_factory=lambda: no_portraits(0))
    impressions: Impressions = msgspec.field(default_factory=lambda: no_impressions(0))
    likeness: Likeness = Likeness()
    glimpse: Likeness = Likeness()
    met: dict[tuple[int, int], int] = {}
    walks: Mapping[Way, Pace] = {}


def no_portraits(dim: int) -> Portraits:
    """Nobody known; looks have ``dim`` numbers."""
    none = np.zeros(0, dtype=np.int64)
    return Portraits(none, np.zeros((0, dim), dtype=np.float16), none, none, none, np.zeros((0, 0), dtype=np.uint8))


def no_impressions(dim: int) -> Impressions:
    """Nobody seen; looks have ``dim`` numbers."""
    none = np.zeros(0, dtype=np.int64)
    return Impressions(none, np.zeros((0, dim), dtype=np.float32), none, none, none)


def looked(album: Album, crowd: Crowd, sightings: Sightings, owner: Ints, at_us: int) -> Album:
    """The album with what a tick shows: looks of everyone, owner (M,) their rows, and who is near whom."""
    if sightings.looks_by and sightings.looks_by != album.model:
        dim = sightings.look.shape[1]
        # Another embedder's looks cannot be compared.
        album = Album(sightings.looks_by, no_portraits(dim), no_impressions(dim))
    if not album.model:
        return album
    fresh = np.flatnonzero((owner >= 0) & (sightings.look != 0.0).any(axis=1)) if sightings.looks_by else owner[:0]
    looks, uids = sightings.look[fresh], crowd.uid[owner[fresh]]
    made: Album = msgspec.structs.replace(
        album, impressions=_impressed(album.impressions, crowd, looks, uids, at_us), met=_met(album, crowd, at_us),
        likeness=weighed(album.likeness, _off(album.impressions, looks, uids)),
        portraits=_together(album.portraits, crowd, at_us),
    )  # fmt: skip
    return made


def _together(known: Portraits, crowd: Crowd, at_us: int) -> Portraits:
    at = np.searchsorted(known.number, crowd.number)
    drawn = (np.append(known.number, 0)[at] == crowd.number) & (crowd.number > 0)
    rows = np.flatnonzero((crowd.seen_us == at_us) & drawn)
    here, place = at[rows], crowd.mean[rows, :2]
    pairs = np.ix_(here, here)
    far = np.linalg.norm(place[:, None] - place, axis=2) > MET_M
    more = np.minimum(known.together[pairs] + np.where(far, FAR, 1), APART).astype(np.uint8)
    if (more == known.together[pairs]).all():
        return known
    together = known.together.copy()
    together[pairs] = more
    changed: Portraits = msgspec.structs.replace(known, together=together)
    return changed


def _off(known: Impressions, looks: Floats, uids: Ints) -> Floats:
    """(N, D) by how much fresh looks (M, D) are off from the impressions so far of whom they show, uids (M,)."""
    if not len(uids) or not len(known):
        return np.zeros((0, 0))
    at = np.minimum(np.searchsorted(known.uid, uids), len(known) - 1)
    again = known.uid[at] == uids
    count = known.count[at[again]][:, None]
    off: Floats = (looks[again] - known.look[at[again]]) * np.sqrt(count / (count + 1.0))
    return off


def _impressed(known: Impressions, crowd: Crowd, looks: Floats, uids: Ints, at_us: int) -> Impressions:
    stays = np.isin(known.uid, crowd.uid)
    if not len(uids) and stays.all():
        return known
    uid = np.union1d(known.uid[stays], uids)
    before, now = np.searchsorted(uid, known.uid[stays]), np.searchsorted(uid, uids)
    total = np.zeros((len(uid), known.look.shape[1]))
    count, last_us = np.zeros((2, len(uid)), dtype=np.int64)
    since_us = np.full(len(uid), at_us, dtype=np.int64)
    total[before] = known.look[stays] * known.count[stays][:, None].astype(np.float64)
    count[before], since_us[before], last_us[before] = known.count[stays], known.since_us[stays], known.last_us[stays]
    if len(uids):
        np.add.at(total, now, looks)
        np.add.at(count, now, 1)
        last_us[now] = at_us
    return Impressions(uid, (total / np.maximum(count, 1)[:, None]).astype(np.float32), count, since_us, last_us)


def _met(album: Album, crowd: Crowd, at_us: int) -> dict[tuple[int, int], int]:
    rows = np.flatnonzero((crowd.number > 0) & (at_us - crowd.seen_us <= _SEEN_US))
    reach = np.full(len(rows), 0.5 * MET_M)
    places = crowd.mean[rows, :2]
    one, other = near_pairs(places, places, reach, reach)
    number = crowd.number[rows]
    near = number[one] < number[other]
    met = {pair: when for pair, when in album.met.items() if at_us - when < _MET_US}
    met.update(dict.fromkeys(zip(number[one[near]].tolist(), number[other[near]].tolist(), strict=True), at_us))
    return met


def forgotten(impressions: Impressions, uids: Ints) -> Impressions:
    """Without the impressions of these uids."""
    keep = ~np.isin(impressions.uid, uids)
    return Impressions(*(getattr(impressions, name)[keep] for name in impressions.__struct_fields__))


def without(album: Album, numbers: Sequence[int]) -> Album:
    """The album without some portraits: they are of nobody, or of two people."""
    keep = ~np.isin(album.portraits.number, numbers)
    kept: Album = msgspec.structs.replace(album, portraits=only(album.portraits, keep))
    return kept


def only(portraits: Portraits, keep: NDArray[np.bool_]) -> Portraits:
    """The portraits where ``keep`` (K,)."""
    rows = {name: getattr(portraits, name)[keep] for name in portraits.__struct_fields__}
    return Portraits(**{**rows, "together": rows["together"][:, keep]})


def drawn(
    portraits: Portraits, number: Ints, impression: Floats, count: Ints, at_us: int, sure_us: Ints, anew: Bools
) -> Portraits:
    """The portraits with impressions (R, D) of ``count`` looks (R,) that are of these numbers (R,).

    at_us: now, from when on those are known who were not. sure_us: (R,) as in ``Portraits``. anew: (R,) whose portrait
    is this impression and nothing else.
    """
    everyone = np.union1d(portraits.number, number)
    old, new = np.searchsorted(everyone, portraits.number), np.searchsorted(everyone, number)
    look = np.zeros((len(everyone), impression.shape[1]))
    counted = np.zeros(len(everyone), dtype=np.int64)
    since, sure = np.full(len(everyone), at_us, dtype=np.int64), np.zeros(len(everyone), dtype=np.int64)
    look[old], counted[old] = portraits.look, portraits.count
    since[old], sure[old] = portraits.since_us, portraits.sure_us
    weight = np.where(anew, 0.0, np.minimum(counted[new], _WEIGHT))
    look[new] = look[new] * weight[:, None] + impression * count[:, None]
    look[new] /= np.linalg.norm(look[new], axis=1, keepdims=True)
    counted[new] = np.where(anew, count, counted[new] + count)
    sure[new] = np.maximum(sure[new], sure_us)
    together = np.zeros((len(everyone), len(everyone)), dtype=np.uint8)
    together[np.ix_(old, old)] = portraits.together
    return Portraits(everyone, look.astype(np.float16), counted, since, sure, together)
