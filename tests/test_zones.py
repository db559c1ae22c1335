import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spoton.events import (
    Evidence,
    Located,
    PeopleLocated,
    PersonLeft,
    PersonsMerged,
    PersonSplit,
    ZoneEntered,
    ZoneLeft,
)
from spoton.site import Zone
from spoton.zones import SETTLE_US, ZoneState, crossing_edges, decide, evolve, inside, step, zone_of

ROOM = Zone("room", ((0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (0.0, 3.0)))
DESK = Zone("desk", ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0)))
NEXT = Zone("next", ((4.0, 0.0), (8.0, 0.0), (8.0, 3.0), (4.0, 3.0)))
TICK_US = 100_000
START_US = 1_700_000_000_000_000
fixed = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.mark.parametrize(
    ("point", "within"),
    [
        pytest.param((2.0, 1.0), True, id="middle"),
        pytest.param((-0.1, 1.0), False, id="beside"),
        pytest.param((0.0, 1.0), True, id="left edge"),
        pytest.param((2.0, 0.0), True, id="lower edge"),
        pytest.param((4.0, 1.0), False, id="right edge"),
        pytest.param((2.0, 3.0), False, id="upper edge"),
        pytest.param((0.0, 0.0), True, id="lower left corner"),
        pytest.param((4.0, 3.0), False, id="upper right corner"),
        pytest.param((np.nan, 1.0), False, id="nowhere"),
        pytest.param((np.inf, 1.0), False, id="infinitely far"),
    ],
)
def test_inside_and_its_edge(point, within):
    assert inside([point], ROOM.polygon_m).tolist() == [within]
    assert inside([point], ROOM.polygon_m[::-1]).tolist() == [within]


def test_a_dent_is_outside():
    dented = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (2.0, 1.0), (0.0, 4.0))
    assert inside([(2.0, 2.0), (0.5, 2.0), (3.5, 2.0), (2.0, 0.5)], dented).tolist() == [False, True, True, True]
    assert inside(np.zeros((0, 2)), dented).shape == (0,)


grid = st.integers(-8, 8)
corners = st.tuples(grid, grid)


@given(st.lists(corners, min_size=3, max_size=8, unique=True), st.lists(corners, min_size=1, max_size=30))
@fixed
def test_inside_agrees_with_the_winding_number_away_from_edges(polygon, points):
    assume(crossing_edges(polygon) is None)
    shifted = np.add(points, [0.37, 0.41])
    turned = np.zeros(len(shifted))
    for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        u, v = np.array(a) - shifted, np.array(b) - shifted
        turned += np.arctan2(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], (u * v).sum(axis=1))
    expected = np.abs(turned) > np.pi
    assert inside(shifted, polygon).tolist() == expected.tolist()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30), st.data())
@fixed
def test_a_floor_cut_into_zones_holds_every_point_once(points, data):
    """Also points on the cuts and on the shared corner: a square cut from one inner point into four."""
    x, y = data.draw(st.floats(0.1, 0.9)), data.draw(st.floats(0.1, 0.9))
    square = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    pieces = [(a, b, (x, y)) for a, b in zip(square, square[1:] + square[:1], strict=True)]
    along = [(s * x, s * y) for s in np.linspace(0, 1, 9)]
    everywhere = np.array([*points, *along, *square, (x, y)])
    count = sum(inside(everywhere, piece).astype(int) for piece in pieces)
    assert count.tolist() == inside(everywhere, square).astype(int).tolist()


@pytest.mark.parametrize(
    ("polygon", "edges"),
    [
        pytest.param(ROOM.polygon_m, None, id="rectangle"),
        pytest.param(((0, 0), (2, 0), (2, 2), (1, 0.5), (0, 2)), None, id="dent"),
        pytest.param(((0, 0), (2, 0), (3, 0), (3, 2)), None, id="corner on a straight edge"),
        pytest.param(((0, 0), (2, 2), (2, 0), (0, 2)), (0, 2), id="bow tie"),
        pytest.param(((0, 0), (4, 0), (4, 3), (2, 0), (0, 3)), (0, 2), id="corner touches an edge"),
        pytest.param(((0, 0), (4, 0), (2, 0), (2, 2)), (0, 1), id="back on itself"),
        pytest.param(((0, 0), (1, 1), (2, 2)), (0, 2), id="flat"),
        pytest.param(((1, 0), (2, 2), (-1, 0), (3, 0), (0, 2)), (0, 2), id="last edge and first"),
    ],
)
def test_crossing_edges(polygon, edges):
    assert crossing_edges(polygon) == edges


def test_the_first_zone_that_holds_a_point_names_it():
    points = [(1.5, 1.5), (3.0, 1.0), (9.0, 9.0), (5.0, 1.0)]
    assert zone_of(points, [DESK, ROOM, NEXT]) == ["desk", "room", None, "next"]
    assert zone_of(points, [ROOM, DESK]) == ["room", "room", None, None]
    assert zone_of(np.zeros((0, 2)), [ROOM]) == []
    assert zone_of(points, []) == [None] * 4


def located(seq, places, *, at=None):
    people = [
        Located(person=name, number=1, x_m=x, y_m=y, vx_m_s=0.0, vy_m_s=0.0, cov_m2=(0.1, 0.0, 0.1), seen=[])
        for name, (x, y) in places.items()
    ]
    at = START_US + seq * TICK_US if at is None else at
    return PeopleLocated(id=f"p{seq}", at=at, site="plaza", seq=seq, tick=seq, frames={}, people=people)


def gone(seq, person, at, last_at):
    return PersonLeft(id=f"l{seq}", at=at, site="plaza", seq=seq, person=person, x_m=0.0, y_m=0.0, last_at=last_at)


def run(inputs, zones, state=None):
    state, told = state or ZoneState(), []
    for event in inputs:
        facts, state = step(state, event, zones)
        told += facts
    return told, state


def story(told):
    return [(type(f).__name__, f.person, f.zone, (f.at - START_US) // TICK_US) for f in told]


OUT, IN = (-1.0, 1.0), (3.0, 1.0)


def test_entering_and_leaving_come_once_settled_and_count_the_whole_stay():
    walk = [OUT] * 3 + [IN] * 10 + [OUT] * 6
    told, state = run([located(i, {"ann": place}) for i, place in enumerate(walk, start=1)], [ROOM])
    assert story(told) == [("ZoneEntered", "ann", "room", 7), ("ZoneLeft", "ann", "room", 17)]
    assert told[1].stayed_s == pytest.approx(1.0)
    assert [fact.seq for fact in told] == [1, 2]
    assert len({fact.id for fact in told}) == 2
    assert state.people == {}


def test_jitter_at_the_edge_makes_no_facts():
    walk = [IN] * 5 + [OUT, IN, OUT, OUT, IN] * 8
    told, _ = run([located(i, {"ann": place}) for i, place in enumerate(walk, start=1)], [ROOM])
    assert story(told) == [("ZoneEntered", "ann", "room", 4)]
    walk = [OUT] * 5 + [IN, OUT, IN, IN, OUT] * 8
    assert run([located(i, {"ann": place}) for i, place in enumerate(walk, start=1)], [ROOM])[0] == []


def test_zones_may_overlap_and_people_are_told_apart():
    inputs = [located(i, {"ann": (1.5, 1.5), "bob": (5.0, 1.0)}) for i in range(1, 6)]
    told, _ = run(inputs, [DESK, ROOM, NEXT])
    assert story(told) == [
        ("ZoneEntered", "ann", "desk", 4),
        ("ZoneEntered", "ann", "room", 4),
        ("ZoneEntered", "bob", "next", 4),
    ]


def test_leaving_the_site_leaves_its_zones_and_a_late_tick_does_not_bring_back():
    told, state = run([located(i, {"ann": IN}) for i in range(1, 11)], [ROOM])
    left_at = START_US + 60 * TICK_US
    more, state = run([gone(1, "ann", left_at, START_US + 10 * TICK_US)], [ROOM], state)
    assert story(more) == [("ZoneLeft", "ann", "room", 60)]
    assert more[0].stayed_s == pytest.approx(0.9)
    late = [located(i, {"ann": IN}) for i in range(11, 30)]
    told, state = run(late, [ROOM], state)
    assert told == []
    assert state.people == {}
    back, state = run([located(i, {"ann": IN}) for i in range(61, 66)], [ROOM], state)
    assert story(back) == [("ZoneEntered", "ann", "room", 64)]
    _, state = run([located(5000, {})], [ROOM], state)
    assert state.left == {}


def test_a_merged_identity_leaves_its_zones():
    inputs = [located(i, {"ann": IN, "eve": IN}) for i in range(1, 6)]
    _, state = run(inputs, [ROOM])
    merge = PersonsMerged(
        id="m", at=START_US + 6 * TICK_US, site="plaza", seq=1, person="ann", merged="eve", evidence=Evidence()
    )
    told, state = run([merge], [ROOM], state)
    assert story(told) == [("ZoneLeft", "eve", "room", 6)]
    assert told[0].stayed_s == pytest.approx(0.5)
    assert list(state.people) == ["ann"]


def test_whose_merge_is_taken_back_is_inside_again_even_seen_at_a_time_before_it():
    """Commands may be dated ahead of what cameras show: no tick was to come when they were given."""
    head = {"id": "m", "site": "plaza", "person": "ann", "evidence": Evidence()}
    _, state = run([located(i, {"ann": IN, "eve": IN}) for i in range(1, 6)], [ROOM])
    merge = PersonsMerged(**head, at=START_US + 20 * TICK_US, seq=1, merged="eve")
    split = PersonSplit(**head, at=START_US + 21 * TICK_US, seq=2, new_person="eve", number=2, tracks=[], reverses="m")
    ticks = [located(i, {"ann": IN, "eve": IN}) for i in range(6, 12)]
    told, _ = run([merge, *ticks], [ROOM], state)
    assert story(told) == [("ZoneLeft", "eve", "room", 20)]
    told, state = run([merge, split, *ticks, split], [ROOM], state)
    assert story(told) == [("ZoneLeft", "eve", "room", 20), ("ZoneEntered", "eve", "room", 9)]
    assert sorted(state.people) == ["ann", "eve"]


def test_a_zone_that_the_site_no_longer_has_is_left():
    _, state = run([located(i, {"ann": IN}) for i in range(1, 6)], [ROOM])
    told, state = run([located(i, {"ann": IN}) for i in range(6, 12)], [], state)
    assert story(told) == [("ZoneLeft", "ann", "room", 9)]
    assert state.people == {}


walks = st.lists(
    st.dictionaries(st.sampled_from(["ann", "bob", "eve"]), st.tuples(st.floats(-1, 5), st.floats(-1, 4)), max_size=3),
    min_size=1,
    max_size=40,
)


@st.composite
def streams(draw):
    """Ticks of people who stay in, or step over, the edges, and now and then somebody leaves the site."""
    inputs, departures, at = [], itertools.count(1), START_US
    for seq, places in enumerate(draw(walks), start=1):
        at += draw(st.sampled_from([50_000, 100_000, 400_000]))
        inputs.append(located(seq, places, at=at))
        if draw(st.integers(0, 9)) == 0:
            inputs.append(gone(next(departures), draw(st.sampled_from(["ann", "bob"])), at + 1, at))
    return inputs


@given(streams())
@fixed
def test_facts_alternate_and_replay_byte_for_byte_split_anywhere_and_repeated(inputs):
    zones = [DESK, ROOM]
    told, end = run(inputs, zones)
    for (_, _), facts in itertools.groupby(
        sorted(told, key=lambda f: (f.person, f.zone, f.seq)), key=lambda f: (f.person, f.zone)
    ):
        kinds = [type(fact) for fact in facts]
        assert kinds == [ZoneEntered, ZoneLeft] * (len(kinds) // 2) + [ZoneEntered] * (len(kinds) % 2)
    assert [fact.seq for fact in told] == list(range(1, len(told) + 1))
    assert all(fact.stayed_s >= 0 for fact in told if isinstance(fact, ZoneLeft))
    half = len(inputs) // 2
    first, state = run(inputs[:half], zones)
    carried = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=ZoneState)
    assert carried == state
    repeated = inputs[max(0, half - 3) :]
    second, again = run(repeated, zones, carried)
    assert msgspec.json.encode(first + second) == msgspec.json.encode(told)
    assert msgspec.msgpack.encode(again) == msgspec.msgpack.encode(end)
    last = decide(end, inputs[-1], zones)
    assert last == []
    assert all(evolve(end, fact, zones) == end for fact in told)


def test_settling_is_measured_in_event_time():
    slow = [located(i, {"ann": IN}, at=START_US + i * SETTLE_US) for i in range(1, 4)]
    told, _ = run(slow, [ROOM])
    assert [(type(fact), fact.at) for fact in told] == [(ZoneEntered, START_US + 2 * SETTLE_US)]
