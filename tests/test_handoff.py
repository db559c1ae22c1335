"""Where people go from one view to the next."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoton.handoff import DEPTH_M, handoff_zones
from spoton.zones import inside


def box(x: float, y: float, w: float = 4.0, h: float = 4.0) -> list[tuple[float, float]]:
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


def bounds(polygon: list[tuple[float, float]]) -> tuple[float, ...]:
    return (*np.min(polygon, axis=0).tolist(), *np.max(polygon, axis=0).tolist())


def test_views_that_overlap_hand_over_where_both_see() -> None:
    (zone,) = handoff_zones({"b": box(3, 0), "a": box(0, 1)})
    assert (zone.from_camera, zone.to_camera, zone.gap_m) == ("a", "b", 0.0)
    assert bounds(zone.polygon_m) == (3.0, 1.0, 4.0, 4.0)


def test_views_with_a_gap_are_left_on_the_side_that_faces_the_other() -> None:
    there, back = handoff_zones({"a": box(0, 0), "b": box(10, 0)})
    assert (there.from_camera, there.to_camera, there.gap_m) == ("a", "b", 6.0)
    assert bounds(there.polygon_m) == (4.0 - DEPTH_M, 0.0, 4.0, 4.0)
    assert (back.from_camera, back.to_camera) == ("b", "a")
    assert bounds(back.polygon_m) == (10.0, 0.0, 10.0 + DEPTH_M, 4.0)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        pytest.param({"a": box(0, 0), "b": box(10, 0), "c": box(5, 0)}, 4, id="another view lies between"),
        pytest.param({"a": box(0, 0), "b": box(60, 0)}, 0, id="too far apart"),
        pytest.param({"a": box(0, 0), "b": box(4, 0)}, 2, id="they touch"),
        pytest.param({"a": box(0, 0)}, 0, id="one camera"),
        pytest.param({}, 0, id="none"),
        pytest.param({"a": box(0, 0), "b": [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]}, 0, id="a view without an area"),
    ],
)
def test_only_neighbours_hand_over(fields: dict[str, list[tuple[float, float]]], count: int) -> None:
    assert len(handoff_zones(fields)) == count


def test_what_lies_off_the_floor_is_no_zone() -> None:
    (zone,) = handoff_zones({"a": box(0, 0, 8, 8), "b": box(4, 0, 8, 8)}, floor=box(0, 0, 6, 5))
    assert bounds(zone.polygon_m) == (4.0, 0.0, 6.0, 5.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    corners=st.lists(
        st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=3, max_size=9), min_size=2, max_size=4
    ),
    turn=st.floats(-math.pi, math.pi), shift=st.floats(-100, 100),
)  # fmt: skip
def test_zones_lie_in_the_view_that_is_left_and_turn_with_the_floor(
    corners: list[list[tuple[float, float]]], turn: float, shift: float
) -> None:
    fields = {f"camera {k}": points for k, points in enumerate(corners)}
    zones = handoff_zones(fields)
    for zone in zones:
        centre = np.mean(zone.polygon_m, axis=0)
        seen = handoff_zones({"one": fields[zone.from_camera], "same": fields[zone.from_camera]})[0].polygon_m
        assert inside([centre], seen)[0]
    c, s = math.cos(turn), math.sin(turn)
    moved = {name: [(c * x - s * y + shift, s * x + c * y) for x, y in points] for name, points in fields.items()}
    there = handoff_zones(moved)
    gaps = {(one.from_camera, one.to_camera): one.gap_m for one in zones}
    for one in there:
        assert gaps.get((one.from_camera, one.to_camera), one.gap_m) == pytest.approx(one.gap_m, abs=0.02)
