"""Where people go from one view to the next: derived from what each camera sees of the floor.

Two views that overlap hand people over where both see them. Two that do not, but lie next to each other, do so across a
gap that nobody sees: people leave the one on the side that faces the other, and come into that on the side that faces
back. What a camera sees of a floor is convex (a picture's frame seen through a projective map), so polygons are cut
against each other edge by edge (Sutherland and Hodgman 1974).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.site import Point
from spoton.zones import inside

Floats = NDArray[np.float64]

FARTHEST_GAP_M = 25.0
"""Views farther apart than this are not next to each other."""
DEPTH_M = 1.5
"""How deep the strip is where people leave a view for one that does not touch it."""
_LEAST_M2 = 0.25
_LOOKS = 21


class HandoffZone(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of floor. from_camera's view is left there, and to_camera's comes next.

    gap_m: how much floor between the two nobody sees; 0 where they overlap, and the zone then holds both ways.
    """

    from_camera: str
    to_camera: str
    gap_m: float
    polygon_m: list[Point]


def handoff_zones(fields: Mapping[str, Sequence[Point]], floor: Sequence[Point] | None = None) -> list[HandoffZone]:
    """The zones of all pairs of cameras, by name. fields: what each sees; floor: where its rectangle or hull ends."""
    seen = {name: hull for name in sorted(fields) if (hull := _hull(fields[name])) is not None}
    bounds = None if floor is None else _hull(floor)
    if bounds is not None:
        seen = {name: cut for name, field in seen.items() if _area(cut := _cut(field, bounds)) >= _LEAST_M2}
    zones: list[HandoffZone] = []
    names = list(seen)
    for k, one in enumerate(names):
        for other in names[k + 1 :]:
            both = _cut(seen[one], seen[other])
            if _area(both) >= _LEAST_M2:
                zones.append(_zone(one, other, 0.0, both))
                continue
            here, there = _nearest(seen[one], seen[other])
            gap_m = float(np.hypot(*(there - here)))
            others = [seen[name] for name in names if name not in (one, other)]
            if gap_m > FARTHEST_GAP_M or _between(here, there, others):
                continue
            for a, b, edge, way in ((one, other, here, there - here), (other, one, there, here - there)):
                strip = _half(seen[a], edge - DEPTH_M * _unit(way, seen[a], seen[b]), _unit(way, seen[a], seen[b]))
                if _area(strip) >= _LEAST_M2:
                    zones.append(_zone(a, b, gap_m, strip))
    return zones


def _zone(one: str, other: str, gap_m: float, polygon: Floats) -> HandoffZone:
    return HandoffZone(
        from_camera=one, to_camera=other, gap_m=round(gap_m, 2),
        polygon_m=[(round(x, 3), round(y, 3)) for x, y in polygon.tolist()],
    )  # fmt: skip


def _hull(points: Sequence[Point]) -> Floats | None:
    """Counter-clockwise (Andrew's monotone chain, 1979); None for points in a line."""
    given = sorted({(float(x), float(y)) for x, y in points})
    if len(given) < 3:
        return None
    hull = np.array(_chain(given)[:-1] + _chain(given[::-1])[:-1])
    return hull if len(hull) > 2 else None


def _chain(points: Sequence[Point]) -> list[Point]:
    """The points of one side of the hull, each a turn to the left."""
    chain: list[Point] = []
    for x, y in points:
        while len(chain) > 1:
            (ax, ay), (bx, by) = chain[-2:]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def _area(polygon: Floats) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) if len(polygon) > 2 else 0.0


def _cut(polygon: Floats, by: Floats) -> Floats:
    """What is inside of both; both convex, ``by`` counter-clockwise."""
    for start, end in zip(by, np.roll(by, -1, axis=0), strict=True):
        edge = end - start
        polygon = _half(polygon, start, np.array([-edge[1], edge[0]]))
    return polygon


def _half(polygon: Floats, edge: Floats, inward: Floats) -> Floats:
    """The part on the side of a line through ``edge`` that ``inward`` points to."""
    if not len(polygon):
        return polygon
    side = (polygon - edge) @ inward
    kept = []
    for k in range(len(polygon)):
        after = (k + 1) % len(polygon)
        if side[k] >= 0:
            kept.append(polygon[k])
        if side[k] * side[after] < 0:
            kept.append(polygon[k] + (polygon[after] - polygon[k]) * (side[k] / (side[k] - side[after])))
    return np.array(kept).reshape(-1, 2)


def _nearest(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """The points of two polygons that lie nearest to each other: a corner of one, a point on an edge of the other."""
    best: tuple[float, Floats, Floats] | None = None
    for corners, edges, turned in ((one, other, False), (other, one, True)):
        start, way = edges, np.roll(edges, -1, axis=0) - edges
        along = np.einsum("ned,ed->ne", corners[:, None] - start, way) / np.maximum((way**2).sum(axis=1), 1e-12)
        on = start + np.clip(along, 0.0, 1.0)[..., None] * way
        apart = np.linalg.norm(corners[:, None] - on, axis=2)
        n, e = np.unravel_index(int(np.argmin(apart)), apart.shape)
        if best is None or apart[n, e] < best[0]:
            pair = (corners[n], on[n, e])
            best = (float(apart[n, e]), *(pair[::-1] if turned else pair))
    assert best is not None
    return best[1], best[2]


def _between(here: Floats, there: Floats, others: Sequence[Floats]) -> bool:
    """Whether somebody on the straight way would come through another view."""
    way = here + np.linspace(0.0, 1.0, _LOOKS)[1:-1, None] * (there - here)
    return any(bool(inside(way, [tuple(point) for point in other.tolist()]).any()) for other in others)


def _unit(way: Floats, one: Floats, other: Floats) -> Floats:
    """The direction of a way; of one without length, from the middle of one view to that of the other."""
    length = float(np.hypot(*way))
    if length > 1e-6:
        return way / length
    way = other.mean(axis=0) - one.mean(axis=0)
    unit: Floats = way / np.hypot(*way)
    return unit
