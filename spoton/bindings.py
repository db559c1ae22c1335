"""Which track of which camera is whom, and what everyone looks like to each camera: the memory behind an identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.crowd import Crowd
from spoton.likeness import Likeness, measured
from spoton.sightings import Sightings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Halves = NDArray[np.float16]
Bools = NDArray[np.bool_]

TrackKey = tuple[str, int]
"""Camera name and track."""

_FIRST = 0.25
_GROWTH = 0.25
_DECAY = 0.34
_LOOK_MEMORY = 0.8


class Binding(msgspec.Struct, frozen=True, array_like=True):
    """A track is person ``uid``. weight: in (0, 1], how settled that is. seen_us: when the track was seen last.

    told: the number of the person whom events say it is, 0: none yet. pinned: an operator said whose it is.
    """

    uid: int
    weight: float
    seen_us: int
    told: int = 0
    pinned: bool = False


Bindings = Mapping[TrackKey, Binding]


class Gallery(msgspec.Struct, frozen=True):
    """One look per person and camera: owner (L,) uid, camera (L,) index, look (L, D) unit rows, all by ``model``.

    Looks are float16, as they came: they make up most of a site's state.
    """

    owner: Ints
    camera: Ints
    look: Halves
    model: str = ""


def no_looks() -> Gallery:
    """Nobody described yet."""
    return Gallery(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float16))


def ties(
    bindings: Bindings, crowd: Crowd, sightings: Sightings, cameras: tuple[str, ...]
) -> tuple[Ints, Floats, Bools]:
    """The row of the person that each sighting's track is, (M,), -1 for none, how settled that is, (M,), and whether
    an operator said so, (M,).
    """
    tied, tie = np.full(len(sightings), -1, dtype=np.int64), np.zeros(len(sightings))
    pinned = np.zeros(len(sightings), dtype=np.bool_)
    rows = {uid: n for n, uid in enumerate(crowd.uid.tolist())}
    for m, (camera, track) in enumerate(zip(sightings.camera.tolist(), sightings.track.tolist(), strict=True)):
        binding = bindings.get((cameras[camera], track)) if track else None
        if binding is not None and binding.uid in rows:
            tied[m], tie[m], pinned[m] = rows[binding.uid], binding.weight, binding.pinned
    return tied, tie, pinned


def rebound(
    bindings: Bindings,
    crowd: Crowd,
    sightings: Sightings,
    owner: Ints,
    cameras: tuple[str, ...],
    at_us: int,
    forget_us: int,
) -> dict[TrackKey, Binding]:
    """The bindings after a tick.

    A track that its person's place denies loses weight until it changes over; one that no longer shows is forgotten.
    """
    known = set(crowd.uid.tolist())
    kept = {key: each for key, each in bindings.items() if each.uid in known and at_us - each.seen_us <= forget_us}
    rows = np.flatnonzero(sightings.track > 0)
    uids = np.where(owner[rows] >= 0, crowd.uid[owner[rows]], -1).tolist() if len(crowd) else [-1] * len(rows)
    for camera, track, uid in zip(sightings.camera[rows].tolist(), sightings.track[rows].tolist(), uids, strict=True):
        key = (cameras[camera], track)
        before = kept.get(key)
        if before is None:
            if uid >= 0:
                kept[key] = Binding(uid, _FIRST, at_us)
        elif before.uid == uid:
            kept[key] = Binding(uid, min(1.0, before.weight + _GROWTH), at_us, before.told, before.pinned)
        elif before.weight > _DECAY:
            kept[key] = Binding(before.uid, before.weight - _DECAY, at_us, before.told, before.pinned)
        elif uid >= 0:
            kept[key] = Binding(uid, _FIRST, at_us, before.told)
        else:
            del kept[key]
    return kept


def handed_to(bindings: Bindings, old_uid: int, new_uid: int, told: int) -> dict[TrackKey, Binding]:
    """All tracks of one person given to another; those that events spoke of are taken to be ``told`` from now on."""
    return {
        key: Binding(new_uid, each.weight, each.seen_us, told if each.told else 0, each.pinned)
        if each.uid == old_uid
        else each
        for key, each in bindings.items()
    }


def alike(
    gallery: Gallery, crowd: Crowd, sightings: Sightings, who: Ints, which: Ints, gate: float, told: Likeness
) -> Floats:
    """How much alike each person ``who`` (K,) and sighting ``which`` (K,) look to the same camera.

    (K,) in [-1, 1]; 0 where it cannot be said. told: how distances are measured.
    """
    evidence = np.zeros(len(who))
    if gallery.model != sightings.looks_by or not len(gallery.owner) or gate <= 0:
        return evidence
    cameras = crowd.shown_us.shape[1]
    keys = gallery.owner * cameras + gallery.camera
    wanted = crowd.uid[who] * cameras + sightings.camera[which]
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    both = np.flatnonzero((keys[at] == wanted) & (sightings.look[which] != 0.0).any(axis=1))
    mine, theirs = measured(told, gallery.look[at[both]]), measured(told, sightings.look[which[both]])
    apart = 1.0 - np.einsum("kd,kd->k", mine, theirs)
    evidence[both] = np.clip((gate - apart) / gate, -1.0, 1.0)
    return evidence


def looked(gallery: Gallery, crowd: Crowd, sightings: Sightings, owner: Ints) -> Gallery:
    """The gallery with what this tick shows, less those who are no longer known."""
    if sightings.looks_by and gallery.model != sightings.looks_by:
        none = np.zeros((0, sightings.look.shape[1]), dtype=np.float16)
        gallery = Gallery(gallery.owner[:0], gallery.camera[:0], none, sightings.looks_by)
    keep = np.isin(gallery.owner, crowd.uid)
    keys = zip(gallery.owner[keep].tolist(), gallery.camera[keep].tolist(), strict=True)
    entries = dict(zip(keys, gallery.look[keep].astype(np.float64), strict=True))
    if not sightings.looks_by:
        return gallery if keep.all() else _gallery(entries, gallery)
    for m in np.flatnonzero((sightings.look != 0.0).any(axis=1) & (owner >= 0)).tolist():
        key = (int(crowd.uid[owner[m]]), int(sightings.camera[m]))
        before = entries.get(key)
        fresh = sightings.look[m] if before is None else _LOOK_MEMORY * before + (1 - _LOOK_MEMORY) * sightings.look[m]
        entries[key] = fresh / np.linalg.norm(fresh)
    return _gallery(entries, gallery)


def looks_apart(gallery: Gallery, one: int, other: int, told: Likeness) -> float | None:
    """Distance of two people's looks, to the same camera where one described both, else the least; None: not known."""
    a, b = gallery.owner == one, gallery.owner == other
    if not a.any() or not b.any():
        return None
    apart = 1.0 - measured(told, gallery.look[a]) @ measured(told, gallery.look[b]).T
    same = gallery.camera[a][:, None] == gallery.camera[b][None]
    return float(apart[same].min() if same.any() else apart.min())


def looks_of(gallery: Gallery, old_uid: int, new_uid: int) -> Gallery:
    """The gallery after one person turned out to be another: their looks go over where the other has none."""
    has = set(gallery.camera[gallery.owner == new_uid].tolist())
    moves = gallery.owner == old_uid
    keep = ~moves | np.array([camera not in has for camera in gallery.camera.tolist()], dtype=np.bool_)
    owner = np.where(moves, new_uid, gallery.owner)
    order = np.lexsort((gallery.camera[keep], owner[keep]))
    return Gallery(owner[keep][order], gallery.camera[keep][order], gallery.look[keep][order], gallery.model)


def relooked(gallery: Gallery, before: Sequence[str], after: Sequence[str]) -> Gallery:
    """The gallery for another set of cameras: looks to cameras that went away are forgotten."""
    if tuple(before) == tuple(after):
        return gallery
    places = {name: k for k, name in enumerate(after)}
    moved = np.array([places.get(name, -1) for name in before], dtype=np.int64)
    camera = moved[gallery.camera]
    keep = camera >= 0
    order = np.lexsort((camera[keep], gallery.owner[keep]))
    return Gallery(
        gallery.owner[keep][order], camera[keep][order], gallery.look[keep][order], gallery.model
    )


def _gallery(entries: Mapping[tuple[int, int], Floats], like: Gallery) -> Gallery:
    keys = sorted(entries)
    return Gallery(
        np.array([key[0] for key in keys], dtype=np.int64),
        np.array([key[1] for key in keys], dtype=np.int64),
        np.array([entries[key] for key in keys], dtype=np.float16).reshape(len(keys), like.look.shape[1]),
        like.model,
    )
