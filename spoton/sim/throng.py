"""Walkers on a floor of any size, all at once: goals, groups, gathering places, leaving and coming back.

Steering is that of ``walkers`` (reciprocal velocity obstacles: van den Berg, Lin and Manocha, ICRA 2008), over pairs
that are near enough to matter. Members of a group hold together and walk at one pace (Moussaïd et al., PLoS ONE 2010).
Every choice is a function of seed, walker and leg (``chance``), so any step follows from the one before it alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spoton.sim.chance import normal, uniform
from spoton.sim.layout import Layout
from spoton.sim.scenario import Scenario
from spoton.sim.steering import fan, near_pairs, time_to_touch
from spoton.sim.walkers import ACCELERATION_MPS2, BODY_M, HORIZON_S, IDLING, STEP_S, TURN_RADPS, stride_m

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

APART_M = 0.42
"""Two who come nearer than this are pushed apart."""
SIGHT_M = 3.0
"""How far away others are taken into account."""
CHUM_M = 0.5
"""What ``BODY_M`` is between members of one group."""
ARRIVED_M = 0.6
MARGIN_M = 0.3
ROAMING, DOOR, OUTSIDE, HIDDEN, AWAY, ENTERING, INSIDE = range(7)
"""Stages of a visit: to goals on the floor; to the gate, through it, out of sight; away; back through the gate, in."""
_GOAL, _SPEED, _STOPS, _PAUSE, _GATE, _LEAVE, _SPOT, _PLACE, _AWAY, _BACK, _AROUND, _GROUP, _GAIT = range(200, 213)


@dataclass(frozen=True, slots=True, eq=False)
class Throng:
    """All walkers after some number of steps; a value, never changed in place. N places.

    person: (N,) ids; present: (N,); floor_m, velocity_mps, goal_m: (N, 2); heading, phase: (N,) radians; stage, visit,
    leg: (N,) where each is on its way; gate: (N,) the gate it comes or goes by; wait_s: (N,) what is left of a pause
    or of being away; leg_s: (N,) what is left of the patience for this leg.
    """

    person: Ints
    present: NDArray[np.bool_]
    floor_m: Floats
    velocity_mps: Floats
    heading: Floats
    phase: Floats
    goal_m: Floats
    stage: Ints
    visit: Ints
    leg: Ints
    gate: Ints
    wait_s: Floats
    leg_s: Floats
    next_person: int


@dataclass(frozen=True, slots=True, eq=False)
class Habits:
    """What does not change: who walks with whom, how fast, and where people like to gather.

    group: (N,) places of one group share a number; speed_mps: (N,); spots_m: (K, 2).
    """

    group: Ints
    speed_mps: Floats
    spots_m: Floats


def habits_of(scenario: Scenario) -> Habits:
    """The habits of everyone in the scenario."""
    count, seed = scenario.people, scenario.seed
    group = np.arange(count)
    grouped, k, number = round(scenario.groups * count), 0, 0
    while k + 1 < grouped:
        size = min(2 + int(np.searchsorted((0.6, 0.85), uniform(seed, _GROUP, number)[0])), grouped - k)
        group[k : k + size] = k
        k, number = k + size, number + 1
    speed = np.clip(1.3 + 0.18 * normal(seed, _SPEED, group), 0.8, 1.75)
    # Groups are slower than people alone (Moussaïd et al. 2010).
    speed[np.bincount(group, minlength=count)[group] > 1] *= 0.88
    spots = np.arange(np.clip(round(scenario.floor_m[0] * scenario.floor_m[1] / 150), 1, 12))
    return Habits(group, speed, _within(scenario, uniform(seed, _SPOT, spots), uniform(seed, _SPOT, spots, 1), 2.0))


def first_throng(scenario: Scenario, habits: Habits, layout: Layout) -> Throng:
    """Everybody on the floor and on the way, numbered from 1."""
    count, seed = scenario.people, scenario.seed
    none = np.zeros(count, dtype=np.int64)
    places = _goals(scenario, habits, none, none - 1)
    for _ in range(60):
        places = _pushed_apart(places, layout, 1.2 * APART_M)
    # The world did not begin just now: everyone is somewhere on the way.
    leg = (_stops(scenario, habits, none) * uniform(seed, _STOPS, habits.group)).astype(np.int64)
    goal = _goals(scenario, habits, none, leg)
    heading = np.arctan2(*(goal - places).T[::-1])
    return Throng(
        person=np.arange(1, count + 1), present=np.ones(count, dtype=bool), floor_m=places,
        velocity_mps=habits.speed_mps[:, None] * np.stack((np.cos(heading), np.sin(heading)), axis=1),
        heading=heading, phase=2 * np.pi * uniform(seed, _GAIT, np.arange(count)), goal_m=goal, stage=none, visit=none,
        leg=leg, gate=none, wait_s=np.zeros(count), leg_s=_patience_s(scenario, habits, goal - places),
        next_person=count + 1,
    )  # fmt: skip


def advance(crowd: Throng, scenario: Scenario, habits: Habits, layout: Layout) -> Throng:
    """The crowd one step of ``STEP_S`` later."""
    crowd = _decided(crowd, scenario, habits, layout)
    chosen = _steered(crowd, _wanted(crowd, habits), habits)
    change = chosen - crowd.velocity_mps
    size = np.linalg.norm(change, axis=1, keepdims=True)
    velocity = crowd.velocity_mps + change * np.minimum(1.0, ACCELERATION_MPS2 * STEP_S / np.maximum(size, 1e-9))
    floor_m = crowd.floor_m.copy()
    here = np.flatnonzero(crowd.present)
    moved = _moved(floor_m[here], velocity[here], layout)
    floor_m[here] = _pushed_apart(moved, layout, APART_M)
    # What was really walked, pushes left out: they are no steps.
    velocity = np.zeros_like(velocity)
    velocity[here] = (moved - crowd.floor_m[here]) / STEP_S
    speed = np.linalg.norm(velocity, axis=1)
    turn = (np.arctan2(velocity[:, 1], velocity[:, 0]) - crowd.heading + np.pi) % (2 * np.pi) - np.pi
    turn = np.where(speed > 0.15, np.clip(turn, -TURN_RADPS * STEP_S, TURN_RADPS * STEP_S), 0.0)
    return replace(
        crowd,
        floor_m=floor_m,
        velocity_mps=velocity,
        heading=crowd.heading + turn,
        phase=crowd.phase + 2 * np.pi * speed * STEP_S / stride_m(speed),
        wait_s=np.maximum(0.0, crowd.wait_s - STEP_S),
        leg_s=crowd.leg_s - STEP_S * (crowd.wait_s <= 0.0),
    )


def _decided(crowd: Throng, scenario: Scenario, habits: Habits, layout: Layout) -> Throng:
    """Those who reached their goal get the next one; those out of sight are away; those away long enough come back."""
    gap = np.linalg.norm(crowd.goal_m - crowd.floor_m, axis=1)
    done = (crowd.wait_s <= 0.0) & ((gap < ARRIVED_M) | (crowd.leg_s <= 0.0) | ~crowd.present)
    if not done.any():
        return crowd
    seed, key = scenario.seed, habits.group
    stage, leg, visit = crowd.stage.copy(), crowd.leg.copy(), crowd.visit.copy()
    gate, wait_s, goal = crowd.gate.copy(), crowd.wait_s.copy(), crowd.goal_m.copy()
    floor_m, person = crowd.floor_m.copy(), crowd.person.copy()
    roaming = done & (crowd.stage == ROAMING)
    rests = uniform(seed, _PAUSE, key, visit, leg)
    wait_s[roaming] = np.where(rests < 0.35, 1.5 + 22.0 * rests * (0.4 + 0.6 * scenario.crowding), 0.0)[roaming]
    leg[done] += 1
    leaves = roaming & (leg >= _stops(scenario, habits, visit))
    stage[leaves] = DOOR
    gate[leaves] = _gate(seed, key, visit, leg, len(layout.gates))[leaves]
    # Who cannot get through one gate tries another.
    lost = done & (crowd.stage == DOOR) & (gap >= ARRIVED_M)
    gate[lost] = _gate(seed, key, visit, leg, len(layout.gates))[lost]
    for now, then in ((DOOR, OUTSIDE), (OUTSIDE, HIDDEN), (HIDDEN, AWAY), (ENTERING, INSIDE), (INSIDE, ROAMING)):
        stage[done & ~lost & (crowd.stage == now)] = then
    gone = done & (crowd.stage == HIDDEN)
    wait_s[gone] = (4.0 + 26.0 * uniform(seed, _AWAY, key, visit))[gone]
    back = done & (crowd.stage == AWAY)
    stage[back] = ENTERING
    visit[back] += 1
    leg[back] = 0
    gate[back] = _gate(seed, key, visit, leg, len(layout.gates))[back]
    new = back & (uniform(seed, _BACK, crowd.person, crowd.visit) >= scenario.returns)
    person[new] = crowd.next_person + np.arange(new.sum())
    floor_m[back] = _by_gate(layout, gate, HIDDEN)[back]
    goal = np.where((done & (stage == ROAMING))[:, None], _goals(scenario, habits, visit, leg), goal)
    for at in (DOOR, OUTSIDE, HIDDEN, ENTERING, INSIDE):
        which = done & (stage == at)
        goal[which] = _by_gate(layout, gate, at)[which]
    present = np.where(done, stage != AWAY, crowd.present)
    aim = goal - floor_m
    heading = np.where(back, np.arctan2(aim[:, 1], aim[:, 0]), crowd.heading)
    return replace(
        crowd, person=person, present=present, floor_m=floor_m, heading=heading, goal_m=goal, stage=stage, visit=visit,
        velocity_mps=np.where((back | gone)[:, None], 0.0, crowd.velocity_mps), leg=leg, gate=gate, wait_s=wait_s,
        leg_s=np.where(done, _patience_s(scenario, habits, aim), crowd.leg_s),
        next_person=crowd.next_person + int(new.sum()),
    )  # fmt: skip


def _stops(scenario: Scenario, habits: Habits, visit: Ints) -> Ints:
    return 3 + (6 * uniform(scenario.seed, _STOPS, habits.group, visit)).astype(np.int64)


def _patience_s(scenario: Scenario, habits: Habits, aim_m: Floats) -> Floats:
    return np.asarray(8.0 + 2.0 * np.linalg.norm(aim_m, axis=1) / habits.speed_mps)


def _gate(seed: int, key: Ints, visit: Ints, leg: Ints, gates: int) -> Ints:
    return (gates * uniform(seed, _GATE, key, visit, leg)).astype(np.int64)


def _by_gate(layout: Layout, gate: Ints, stage: int) -> Floats:
    """(N, 2) where one goes at a stage by one's gate: coming and going keep to the right of each other."""
    inward, sideways = {
        DOOR: (1.0, 0.5), OUTSIDE: (-1.1, 0.6), HIDDEN: (-1.2, 3.4), ENTERING: (-1.1, -0.6), INSIDE: (1.0, -0.5)
    }[stage]  # fmt: skip
    places = np.array([one.at(inward, sideways) for one in layout.gates])
    return np.asarray(places[gate])


def _goals(scenario: Scenario, habits: Habits, visit: Ints, leg: Ints) -> Floats:
    """(N, 2) goals on the floor: anywhere, or around a gathering place; members of a group beside each other."""
    seed, key, each = scenario.seed, habits.group, np.arange(scenario.people)
    u, v, liked, which = (uniform(seed, _GOAL, key, visit, leg + 1, k) for k in range(4))
    spot = habits.spots_m[(which * len(habits.spots_m)).astype(np.int64)]
    around = np.stack([1.3 * normal(seed, _AROUND, key, visit, leg + 1, k) for k in range(2)], axis=1)
    goal = np.where((liked < scenario.crowding)[:, None], spot + around, _within(scenario, u, v, 0.9))
    beside = np.stack([0.55 * normal(seed, _PLACE, each, visit, leg + 1, k) for k in range(2)], axis=1)
    together = np.bincount(key, minlength=len(key))[key] > 1
    goal = goal + np.where(together[:, None], beside, 0.0)
    return np.asarray(np.clip(goal, 0.9, np.array(scenario.floor_m) - 0.9))


def _within(scenario: Scenario, u: Floats, v: Floats, margin_m: float) -> Floats:
    size = np.array(scenario.floor_m)
    return np.asarray(margin_m + np.stack((u, v), axis=1) * (size - 2 * margin_m))


def _wanted(crowd: Throng, habits: Habits) -> Floats:
    """(N, 2) the velocity each walker would take if it were alone with its group."""
    aim = crowd.goal_m - crowd.floor_m
    gap = np.linalg.norm(aim, axis=1)
    pace = np.minimum(habits.speed_mps, gap / 0.5)
    direction = aim / np.maximum(gap, 1e-9)[:, None]
    walking = crowd.present & (crowd.stage == ROAMING)
    weight = np.bincount(habits.group, walking, minlength=len(gap))
    total = [np.bincount(habits.group, walking * axis, minlength=len(gap)) for axis in crowd.floor_m.T]
    middle = (np.stack(total, axis=1) / np.maximum(weight, 1.0)[:, None])[habits.group]
    drawn = np.where((walking & (weight[habits.group] > 1))[:, None], middle - crowd.floor_m, 0.0)
    ahead = -(drawn * direction).sum(axis=1)
    pace = pace * np.clip(1.0 - 0.35 * ahead, 0.3, 1.3)
    aside = drawn + ahead[:, None] * direction
    wanted = direction * pace[:, None] + 0.3 * np.clip(aside, -1.5, 1.5)
    moving = crowd.present & (crowd.wait_s <= 0.0)
    return np.where(moving[:, None], wanted, 0.0)


def _steered(crowd: Throng, wanted: Floats, habits: Habits) -> Floats:
    """(N, 2) the velocity each walker picks."""
    fan_u, fan_v = fan(wanted, crowd.velocity_mps)
    effort = np.hypot(fan_u - wanted[:, :1], fan_v - wanted[:, 1:])
    effort += 0.3 * np.hypot(fan_u - crowd.velocity_mps[:, :1], fan_v - crowd.velocity_mps[:, 1:])
    waits = crowd.wait_s > 0.0
    effort[:, -1] += IDLING * ~waits
    here = np.flatnonzero(crowd.present & ~waits)
    everyone = np.flatnonzero(crowd.present)
    i, j = near_pairs(crowd.floor_m[everyone], SIGHT_M)
    i, j = everyone[i], everyone[j]
    mine = ~waits[i]
    i, j = i[mine], j[mine]
    if len(i):
        gap = (crowd.floor_m[j] - crowd.floor_m[i]).T[:, :, None]
        rest = (crowd.velocity_mps[i] + crowd.velocity_mps[j]).T[:, :, None]
        body = np.where(habits.group[i] == habits.group[j], CHUM_M, BODY_M)[:, None]
        touch = time_to_touch((gap[0], gap[1]), (2 * fan_u[i] - rest[0], 2 * fan_v[i] - rest[1]), body)
        starts = np.flatnonzero(np.r_[True, np.diff(i) > 0])
        soonest = np.minimum.reduceat(touch, starts, axis=0)
        danger = np.where(soonest < HORIZON_S, 1.1 / (soonest + 0.15) - 1.1 / (HORIZON_S + 0.15), 0.0)
        effort[i[starts]] += danger
    best = effort.argmin(axis=1)
    chosen = np.zeros_like(wanted)
    chosen[here] = np.stack((fan_u[here, best[here]], fan_v[here, best[here]]), axis=1)
    return chosen


def _moved(floor_m: Floats, velocity: Floats, layout: Layout) -> Floats:
    """Places after the step; who would walk into a wall walks along it, or stays."""
    step = velocity * STEP_S
    for only in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        there = floor_m + step * only
        good = layout.walkable(there, MARGIN_M)
        if only == (1.0, 1.0):
            ahead, open_ = np.where(good[:, None], there, floor_m), good
        else:
            ahead = np.where((good & ~open_)[:, None], there, ahead)
            open_ = open_ | good
    return ahead


def _pushed_apart(floor_m: Floats, layout: Layout, apart_m: float) -> Floats:
    """Who stands nearer to another than ``apart_m`` gives way by half of what is missing, where there is room."""
    i, j = near_pairs(floor_m, apart_m)
    if not len(i):
        return floor_m
    gap = floor_m[i] - floor_m[j]
    far = np.linalg.norm(gap, axis=1)
    # Two in one place part along a line that both agree on.
    side = np.where(i < j, 1.0, -1.0)[:, None] * np.array([[1.0, 0.0]])
    away = np.where(far[:, None] > 1e-6, gap / np.maximum(far, 1e-6)[:, None], side)
    push = away * (0.5 * (apart_m - far))[:, None]
    moved = floor_m + np.stack([np.bincount(i, axis, minlength=len(floor_m)) for axis in push.T], axis=1)
    return np.where(layout.walkable(moved, MARGIN_M)[:, None], moved, floor_m)
