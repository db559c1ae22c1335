"""Who becomes a person, who comes back, who was somebody else, who went on to another camera and who has left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton import likeness
from spoton import memory as memories
from spoton.association import near_pairs
from spoton.bindings import Binding, Gallery, TrackKey, handed_to, looks_apart, looks_of
from spoton.crowd import Crowd, kept, with_values
from spoton.events import (
    Evidence,
    IdentityEvent,
    PersonAppeared,
    PersonHandedOver,
    PersonLeft,
    PersonsMerged,
    PersonSplit,
    TrackAssigned,
    TrackRef,
)
from spoton.matching import MAHALANOBIS_GATE, STICKY_GATE, misfit
from spoton.memory import Memory
from spoton.portraits import Album
from spoton.presence import CONFIRMED, DISBELIEVED
from spoton.sightings import Sightings, SiteView

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Finding = tuple[type[IdentityEvent], dict[str, Any]]
"""An event without its head: kind and fields."""

RECENT_US = 1_000_000
"""What was seen within this time counts as seen together."""
LISTED_US = 350_000
"""A person unseen for longer is remembered, but no longer shown: where they went can only be guessed."""

_SAME_PLACE = 0.5
_SAME_FOR_US = 1_000_000
_SETTLED_US = 5_000_000
_SETTLED_SAME_FOR_US = 3_000_000
_RETURN_M_S = 1.5
_FARTHEST_RETURN_M = 6.0
_UNLIKE, _NATS = -1.5, 3.0
"""Looks that say less, as log odds, are of another; so many count as much as the whole reach."""
_CANDIDATE_LIFE_US = 500_000


@dataclass(frozen=True, slots=True, eq=False)
class Lives:
    """Everyone at one tick. close: pairs of uids that stand in one place, each with the time since when.

    found: what happened so far at this tick, in order. apart: pairs of numbers, the lower first, whom an operator told
    apart.
    """

    at_us: int
    site_first_us: int
    last_number: int
    crowd: Crowd
    bindings: Mapping[TrackKey, Binding]
    gallery: Gallery
    memory: Memory
    album: Album
    close: Mapping[tuple[int, int], int]
    found: tuple[Finding, ...] = ()
    apart: tuple[tuple[int, int], ...] = ()

    def name(self, number: int) -> str:
        """The identity that belongs to a number."""
        return f"{self.site_first_us // 1_000_000:x}-{number}"


def paired(lives: Lives, gate_m: float) -> Lives:
    """Keep account of who stands where someone else does without one camera showing both of them at once."""
    crowd = lives.crowd
    here = lives.at_us - crowd.seen_us <= RECENT_US
    reach = np.full(len(crowd), 0.5 * _SAME_PLACE * gate_m)
    rows, columns = near_pairs(crowd.mean[:, :2], crowd.mean[:, :2], reach, reach)
    keep = (rows < columns) & here[rows] & here[columns]
    rows, columns = rows[keep], columns[keep]
    now = crowd.shown_us == lives.at_us
    keep = ~(now[rows] & now[columns]).any(axis=1)
    rows, columns = rows[keep], columns[keep]
    pairs_of_rows = list(zip(rows.tolist(), columns.tolist(), strict=True))
    if lives.apart:
        told, number = set(lives.apart), crowd.number.tolist()
        pairs_of_rows = [
            (a, b) for a, b in pairs_of_rows if (min(number[a], number[b]), max(number[a], number[b])) not in told
        ]
    uid = crowd.uid.tolist()
    pairs = [(uid[a], uid[b]) for a, b in pairs_of_rows]
    return replace(lives, close={pair: lives.close.get(pair, lives.at_us) for pair in pairs})


def merged(lives: Lives) -> Lives:
    """Make one of those who stood in one place for long enough: the confirmed one, or the older, stays."""
    for (older, younger), since_us in sorted(lives.close.items()):
        if not {older, younger} <= set(lives.crowd.uid.tolist()):
            continue
        rows = np.searchsorted(lives.crowd.uid, [older, younger])
        settled = since_us - int(lives.crowd.born_us[rows[1]]) >= _SETTLED_US
        if lives.at_us - since_us < (_SETTLED_SAME_FOR_US if settled else _SAME_FOR_US):
            continue
        numbers = lives.crowd.number[rows]
        stays, goes = (0, 1) if numbers[0] > 0 or numbers[1] == 0 else (1, 0)
        found = lives.found
        if numbers[goes] > 0:
            places = lives.crowd.mean[rows, :2]
            evidence = Evidence(
                distance_m=_rounded(np.hypot(*(places[0] - places[1]))),
                gap_s=_rounded((lives.at_us - since_us) / 1e6),
                appearance=_rounded(looks_apart(lives.gallery, older, younger, lives.album.likeness)),
                by="same place",
            )
            fields = {
                "person": lives.name(int(numbers[stays])), "merged": lives.name(int(numbers[goes])),
                "tracks": tracks_of(lives, int(lives.crowd.uid[rows[goes]])), "evidence": evidence,
            }  # fmt: skip
            found = (*found, (PersonsMerged, fields))
        lives = replace(one_instead(lives, int(rows[goes]), int(rows[stays]), moved=False), found=found)
    return lives


def confirmed(lives: Lives, view: SiteView, seen: Mapping[int, list[TrackRef]]) -> Lives:
    """Give a number to everyone now sure enough: that of a person lost nearby where one fits, else a new one.

    seen: uid to the tracks that show it now.
    """
    thresholds = view.site.thresholds
    crowd = lives.crowd
    doubles = {uid for pair in lives.close for uid in pair if _beside_a_person(crowd, pair, uid)}
    cameras_now = (crowd.shown_us == lives.at_us).sum(axis=1)
    old_enough = (lives.at_us - crowd.born_us >= thresholds.confirm_s * 1e6) | (cameras_now >= 2)
    ready = (crowd.number == 0) & (crowd.belief >= CONFIRMED) & old_enough & (crowd.seen_us == lives.at_us)
    for uid in crowd.uid[ready].tolist():
        if uid in doubles:
            continue
        refs = seen.get(uid, [])
        lives = (
            _returned(lives, uid, view)
            or _parted(lives, uid, refs, view)
            or _appeared(lives, uid, refs)
        )
    return lives


def tracks_of(lives: Lives, uid: int) -> list[TrackRef]:
    """Every track that shows somebody, or did a moment ago, in order."""
    return [TrackRef(*key) for key, each in sorted(lives.bindings.items()) if each.uid == uid]


def renumbered(lives: Lives, row: int, number: int) -> Lives:
    """The same with another number for a row: that of somebody who is remembered no longer, being back."""
    numbers = lives.crowd.number.copy()
    numbers[row] = number
    return replace(
        lives, crowd=with_values(lives.crowd, number=numbers), memory=memories.without(lives.memory, number)
    )


def _beside_a_person(crowd: Crowd, pair: tuple[int, int], uid: int) -> bool:
    number = crowd.number[np.searchsorted(crowd.uid, pair)]
    return bool((number > 0).any()) and bool(crowd.number[np.searchsorted(crowd.uid, uid)] == 0)


def _appeared(lives: Lives, uid: int, seen: list[TrackRef]) -> Lives:
    row, number = int(np.searchsorted(lives.crowd.uid, uid)), lives.last_number + 1
    x_m, y_m = lives.crowd.mean[row, :2].tolist()
    fields = {"person": lives.name(number), "number": number, "x_m": round(x_m, 3), "y_m": round(y_m, 3), "seen": seen}
    return _numbered(lives, row, (PersonAppeared, fields))


def _parted(lives: Lives, uid: int, seen: list[TrackRef], view: SiteView) -> Lives | None:
    """Somebody whose tracks were taken for a person who is seen elsewhere now: the two were told as one."""
    crowd, row = lives.crowd, int(np.searchsorted(lives.crowd.uid, uid))
    known = [lives.bindings.get((ref.camera, ref.track)) for ref in seen]
    before = [0 if each is None else each.told for each in known]
    for number in dict.fromkeys(one for one in before if one):
        at = np.flatnonzero((crowd.number == number) & (crowd.seen_us == lives.at_us))
        if not len(at):
            continue
        fields = {
            "person": lives.name(number), "new_person": lives.name(lives.last_number + 1),
            "number": lives.last_number + 1,
            "tracks": [ref for ref, told in zip(seen, before, strict=True) if told == number],
            "evidence": Evidence(
                distance_m=_rounded(np.hypot(*(crowd.mean[at[0], :2] - crowd.mean[row, :2]))),
                gate_m=view.site.thresholds.gate_m,
                appearance=_rounded(looks_apart(lives.gallery, int(crowd.uid[at[0]]), uid, lives.album.likeness)),
                by="two places",
            ),
        }  # fmt: skip
        return _numbered(lives, row, (PersonSplit, fields))
    return None


def _numbered(lives: Lives, row: int, finding: Finding) -> Lives:
    """Row ``row`` gets the next number; ``finding`` says so."""
    numbers = lives.crowd.number.copy()
    numbers[row] = lives.last_number + 1
    return replace(
        lives,
        last_number=lives.last_number + 1,
        crowd=with_values(lives.crowd, number=numbers),
        found=(*lives.found, finding),
    )


def _returned(lives: Lives, uid: int, view: SiteView) -> Lives | None:
    """The same lives with a lost person found again in ``uid``; None when nobody lost fits."""
    thresholds, crowd = view.site.thresholds, lives.crowd
    row = int(np.searchsorted(crowd.uid, uid))
    gap_s = (int(crowd.born_us[row]) - crowd.seen_us) / 1e6
    lost = (crowd.number > 0) & (crowd.seen_us < crowd.born_us[row])
    apart = np.hypot(*(crowd.mean[:, :2] - crowd.mean[row, :2]).T)
    far = np.minimum(thresholds.gate_m + _RETURN_M_S * gap_s, _FARTHEST_RETURN_M)
    best: tuple[float, int, float | None] | None = None
    for k in np.flatnonzero(lost & (apart <= far)).tolist():
        looks = looks_apart(lives.gallery, int(crowd.uid[k]), uid, lives.album.likeness)
        reach = min(far[k], thresholds.gate_m) if looks is None else far[k]
        unlike = 0.0 if looks is None else _unlike(lives, looks, view)
        if apart[k] > reach or unlike is None:
            continue
        cost = float(apart[k] / reach) + unlike
        if best is None or cost < best[0]:
            best = (cost, k, looks)
    if best is None:
        return None
    return one_instead(lives, row, best[1], moved=True)


def _unlike(lives: Lives, looks: float, view: SiteView) -> float | None:
    """What looks at this distance add to the cost of being the same person; None: they are not."""
    given = view.site.thresholds.appearance_gate
    if given is not None or not lives.album.likeness.known:
        gate = likeness.usual_gate(lives.gallery.model, given)
        return looks / gate if looks <= gate else None
    says = float(likeness.evidence(lives.album.likeness, np.array(looks)))
    return -says / _NATS if says >= _UNLIKE else None


def one_instead(lives: Lives, goes: int, stays: int, *, moved: bool, told: int | None = None) -> Lives:
    """Row ``goes`` turns out to be ``stays``. moved: who stays is where the other one is.

    told: the number that tracks of ``goes`` are known by from now on, 0: none; None: that of ``stays`` unless moved.
    """
    crowd = lives.crowd
    old_uid, uid, number = int(crowd.uid[goes]), int(crowd.uid[stays]), int(crowd.number[stays])
    shown, seen = crowd.shown_us.copy(), crowd.seen_us.copy()
    shown[stays] = np.maximum(shown[stays], shown[goes])
    seen[stays] = max(int(seen[stays]), int(seen[goes]))
    values: dict[str, Any] = {"shown_us": shown, "seen_us": seen}
    if moved:
        for name in ("mean", "cov", "belief"):
            array = getattr(crowd, name).copy()
            array[stays] = array[goes]
            values[name] = array
    crowd = with_values(crowd, **values)
    if told is None:
        told = number if not moved else 0
    return replace(
        lives,
        crowd=kept(crowd, crowd.uid != old_uid),
        bindings=handed_to(lives.bindings, old_uid, uid, told),
        gallery=looks_of(lives.gallery, old_uid, uid),
        close={pair: since for pair, since in lives.close.items() if old_uid not in pair},
    )


def told(lives: Lives, sightings: Sightings, owner_uid: Ints, view: SiteView) -> Lives:
    """Say of every track that shows a person for the first time, or another one than before, whose it is."""
    bindings, found = dict(lives.bindings), list(lives.found)
    numbers = dict(zip(lives.crowd.uid.tolist(), lives.crowd.number.tolist(), strict=True))
    rows = np.flatnonzero(sightings.firm)
    columns = (sightings.camera[rows].tolist(), sightings.track[rows].tolist(), owner_uid[rows].tolist())
    for m, at, track, uid in zip(rows.tolist(), *columns, strict=True):
        camera = view.cameras[at]
        binding = bindings.get((camera, track))
        number = numbers.get(binding.uid, 0) if binding is not None else 0
        if binding is None or not number or binding.told == number or uid != binding.uid:
            continue
        row = int(np.searchsorted(lives.crowd.uid, binding.uid))
        evidence = _evidence(lives, row, sightings, m, view)
        fields = {"person": lives.name(number), "camera": camera, "track": track, "evidence": evidence}
        found.append((TrackAssigned, fields))
        bindings[camera, track] = Binding(binding.uid, binding.weight, binding.seen_us, number, binding.pinned)
    return replace(lives, bindings=bindings, found=tuple(found))


def _evidence(lives: Lives, row: int, sightings: Sightings, m: int, view: SiteView) -> Evidence:
    d2, distance_m = misfit(lives.crowd, sightings, np.array([row]), np.array([m]))
    uid = int(lives.crowd.uid[row])
    own, told = lives.gallery.look[lives.gallery.owner == uid], lives.album.likeness
    looks = None
    if len(own) and lives.gallery.model == sightings.looks_by and sightings.look[m].any():
        looks = float((1.0 - likeness.measured(told, own) @ likeness.measured(told, sightings.look[[m]])[0]).min())
    return Evidence(
        distance_m=_rounded(distance_m[0]),
        gate_m=view.site.thresholds.gate_m,
        mahalanobis=_rounded(d2[0]),
        mahalanobis_gate=MAHALANOBIS_GATE if d2[0] <= MAHALANOBIS_GATE else STICKY_GATE,
        appearance=_rounded(looks),
        appearance_gate=None if looks is None else _rounded(looks_gate(lives, view)),
        by="place",
    )


def looks_gate(lives: Lives, view: SiteView) -> float:
    """The distance beyond which two looks are rather of different people."""
    return likeness.gate(lives.album.likeness, lives.gallery.model, view.site.thresholds.appearance_gate)


def handed_over(lives: Lives, view: SiteView, seen: Mapping[int, list[TrackRef]]) -> Lives:
    """A person whose camera has not shown them for a while goes over to one that does."""
    crowd, found, home = lives.crowd, list(lives.found), lives.crowd.home.copy()
    now = crowd.shown_us == lives.at_us
    for row in np.flatnonzero((crowd.number > 0) & now.any(axis=1)).tolist():
        refs = seen.get(int(crowd.uid[row]), [])
        if home[row] < 0:
            home[row] = int(np.argmax(now[row]))
            continue
        left_us = int(crowd.shown_us[row, home[row]])
        if lives.at_us - left_us < RECENT_US or not refs:
            continue
        fields = {
            "person": lives.name(int(crowd.number[row])), "from_camera": view.cameras[int(home[row])],
            "to_camera": refs[0].camera, "track": refs[0].track,
            "evidence": Evidence(gap_s=_rounded((lives.at_us - left_us) / 1e6), by="place"),
        }  # fmt: skip
        found.append((PersonHandedOver, fields))
        home[row] = view.cameras.index(refs[0].camera)
    return replace(lives, crowd=with_values(crowd, home=home), found=tuple(found))


def departed(lives: Lives, view: SiteView) -> Lives:
    """Let go of people unseen for too long, and of candidates who came to nothing."""
    crowd, thresholds = lives.crowd, view.site.thresholds
    unseen_us = lives.at_us - crowd.seen_us
    patience_us = max(_CANDIDATE_LIFE_US, 3 * view.rhythm.period_us // 2)
    over = (crowd.number == 0) & ((unseen_us > patience_us) | (crowd.belief <= DISBELIEVED))
    gone = (crowd.number > 0) & (unseen_us >= thresholds.leave_after_s * 1e6)
    return let_go(lives, over | gone, view)


def overdue(lives: Lives, view: SiteView) -> Lives:
    """Let go of everyone unseen for ``leave_after_s`` before anyone is recognised in a tick.

    After a gap in the ticks a track that goes on, or has started anew under an old number, would else make whoever it
    shows a person who left long ago. Where ticks come more slowly than people leave, a tick and a half is waited for.
    """
    patience_us = max(view.site.thresholds.leave_after_s * 1e6, 1.5 * view.rhythm.period_us)
    return let_go(lives, lives.at_us - lives.crowd.seen_us >= patience_us, view)


def let_go(lives: Lives, going: Bools, view: SiteView) -> Lives:
    """Without the rows that are ``going``, (N,); those of them who have a number are said to have left."""
    crowd, found, memory = lives.crowd, list(lives.found), lives.memory
    known = set(lives.album.portraits.number.tolist())
    for row in np.flatnonzero(going & (crowd.number > 0)).tolist():
        number, seen_us = int(crowd.number[row]), int(crowd.seen_us[row])
        if number in known:
            camera = view.cameras[int(np.argmax(crowd.shown_us[row]))]
            memory = memories.remembered(memory, number, seen_us, crowd.mean[row], camera)
        x_m, y_m = crowd.mean[row, :2].tolist()
        fields = {
            "person": lives.name(int(crowd.number[row])), "x_m": round(x_m, 3), "y_m": round(y_m, 3),
            "last_at": int(crowd.seen_us[row]),
        }  # fmt: skip
        found.append((PersonLeft, fields))
    return replace(lives, crowd=kept(crowd, ~going), memory=memory, found=tuple(found))


def _rounded(value: float | np.floating[Any] | None) -> float | None:
    return None if value is None else round(float(value), 4)
