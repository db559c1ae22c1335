"""Goal-directed walkers that keep out of each other's way, advanced in fixed steps.

Steering picks, for every walker and step, the best of a fan of velocities by its distance from the wanted one and by
the time to collision it leads to (reciprocal velocity obstacles: van den Berg, Lin and Manocha, ICRA 2008). What the
choice leaves open, a hard check closes: nobody moves to within ``APART_M`` of another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.sim.layout import Layout
from spoton.sim.routes import Route, free_points, route_of
from spoton.sim.steering import fan, time_to_touch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP_S = 0.2
APART_M = 0.5
BODY_M = 0.62
"""Distance between two walkers' middles that steering plans for."""
CLEARANCE_M = 0.28
"""Room that steering keeps between a walker's middle and an obstacle's rim."""
BARE_M = 0.14
"""The same room that no move may go below."""
ACCELERATION_MPS2 = 2.6
TURN_RADPS = 4.0
HORIZON_S = 3.5
IDLING = 0.7
"""What steering pays, in m/s of detour, for standing still on the way; without it two who meet wait for ever."""
PATIENCE_S = 9.0
"""A walker that needs this much longer than expected for one leg goes on to the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """All walkers after some number of steps; a value, never changed in place. N places, some of them empty.

    person: (N,) ids, never used twice; present: (N,); floor_m, velocity_mps: (N, 2); heading: (N,) radians;
    phase: (N,) gait angle in radians, tied to the distance walked; leg: (N,) index of the point aimed at;
    wait_s: (N,) what is left of a pause, or of the time until a new person comes; leg_s: (N,) time on this leg.
    """

    person: Ints
    present: NDArray[np.bool_]
    floor_m: Floats
    velocity_mps: Floats
    heading: Floats
    phase: Floats
    leg: Ints
    wait_s: Floats
    leg_s: Floats
    routes: tuple[Route, ...]
    next_person: int


def first_crowd(seed: int, people: int, layout: Layout) -> Crowd:
    """``people`` walkers, numbered from 1, spread over the plaza and on their way."""
    rng = np.random.default_rng([seed, 100])
    places: list[Floats] = []
    while len(places) < people:
        point = free_points(layout, rng, 1, 0.0)[0]
        if all(np.hypot(*(other - point)) > 0.9 for other in places):
            places.append(point)
    routes = tuple(route_of(seed, k, layout, begins_inside=True) for k in range(1, people + 1))
    floor_m = np.array(places).reshape(people, 2)
    ahead = np.array([route.points_m[0] for route in routes]).reshape(people, 2) - floor_m
    heading = np.arctan2(ahead[:, 1], ahead[:, 0])
    speed = np.array([route.speed_mps for route in routes])
    velocity = speed[:, None] * np.stack((np.cos(heading), np.sin(heading)), axis=1)
    return Crowd(
        person=np.arange(1, people + 1, dtype=np.int64),
        present=np.ones(people, dtype=bool),
        floor_m=floor_m,
        velocity_mps=velocity,
        heading=heading,
        phase=rng.uniform(0, 2 * np.pi, people),
        leg=np.zeros(people, dtype=np.int64),
        wait_s=np.zeros(people),
        leg_s=np.zeros(people),
        routes=routes,
        next_person=people + 1,
    )


def stride_m(speed_mps: Floats) -> Floats:
    """Length of a whole gait cycle (two steps) at a speed; people lengthen their stride as they walk faster."""
    return np.clip(0.5 + 0.7 * speed_mps, 0.5, 1.7)


def advance(crowd: Crowd, seed: int, layout: Layout, discs_m: Floats) -> Crowd:
    """The crowd one step of ``STEP_S`` later."""
    crowd = _admit(_arrive(crowd), seed, layout)
    wanted = _wanted(crowd)
    chosen = _steer(crowd, wanted, layout, discs_m)
    change = chosen - crowd.velocity_mps
    size = np.linalg.norm(change, axis=1, keepdims=True)
    velocity = crowd.velocity_mps + change * np.minimum(1.0, ACCELERATION_MPS2 * STEP_S / np.maximum(size, 1e-9))
    velocity = np.where(crowd.present[:, None], velocity, 0.0)
    floor_m, velocity = _move(crowd, velocity, layout, discs_m)
    speed = np.linalg.norm(velocity, axis=1)
    aim = np.arctan2(velocity[:, 1], velocity[:, 0])
    turn = (aim - crowd.heading + np.pi) % (2 * np.pi) - np.pi
    turn = np.where(speed > 0.15, np.clip(turn, -TURN_RADPS * STEP_S, TURN_RADPS * STEP_S), 0.0)
    return Crowd(
        person=crowd.person,
        present=crowd.present,
        floor_m=floor_m,
        velocity_mps=velocity,
        heading=crowd.heading + turn,
        phase=crowd.phase + 2 * np.pi * speed * STEP_S / stride_m(speed),
        leg=crowd.leg,
        wait_s=np.maximum(0.0, crowd.wait_s - STEP_S),
        leg_s=crowd.leg_s + STEP_S * (crowd.wait_s <= 0.0),
        routes=crowd.routes,
        next_person=crowd.next_person,
    )


def _arrive(crowd: Crowd) -> Crowd:
    """Those who reached their point aim at the next one; those at their last point are gone."""
    leg, wait_s, leg_s, present = crowd.leg.copy(), crowd.wait_s.copy(), crowd.leg_s.copy(), crowd.present.copy()
    for k in np.flatnonzero(crowd.present & (crowd.wait_s <= 0.0)):
        route = crowd.routes[k]
        gap = route.points_m[leg[k]] - crowd.floor_m[k]
        gap_m = float(np.hypot(gap[0], gap[1]))
        last = len(route.points_m) - 1
        stuck = leg[k] < last - 2 and leg_s[k] > PATIENCE_S + 8.0 / route.speed_mps
        if gap_m > 0.45 and not stuck:
            continue
        if leg[k] == last:
            present[k], wait_s[k], leg_s[k] = False, route.rest_s, 0.0
            continue
        wait_s[k] = 0.0 if stuck else route.pauses_s[leg[k]]
        leg[k] += 1
        leg_s[k] = 0.0
    return _with(crowd, leg=leg, wait_s=wait_s, leg_s=leg_s, present=present)


def _admit(crowd: Crowd, seed: int, layout: Layout) -> Crowd:
    """A new person, with a new number, appears out of sight for each place that has been empty long enough."""
    for k in np.flatnonzero(~crowd.present & (crowd.wait_s <= 0.0)):
        route = route_of(seed, crowd.next_person, layout)
        start, ahead = route.points_m[0], route.points_m[1] - route.points_m[0]
        others = crowd.floor_m[crowd.present]
        if len(others) and np.hypot(*(others - start).T).min() < 0.9:
            continue
        person, present, floor_m = crowd.person.copy(), crowd.present.copy(), crowd.floor_m.copy()
        heading, leg, velocity = crowd.heading.copy(), crowd.leg.copy(), crowd.velocity_mps.copy()
        person[k], present[k], floor_m[k] = crowd.next_person, True, start
        heading[k], leg[k], velocity[k] = np.arctan2(ahead[1], ahead[0]), 1, 0.0
        routes = (*crowd.routes[:k], route, *crowd.routes[k + 1 :])
        crowd = _with(
            crowd, person=person, present=present, floor_m=floor_m, heading=heading, leg=leg,
            velocity_mps=velocity, routes=routes, next_person=crowd.next_person + 1,
        )  # fmt: skip
    return crowd


def _with(crowd: Crowd, **changes: object) -> Crowd:
    values: dict[str, object] = {name: getattr(crowd, name) for name in Crowd.__slots__}
    return Crowd(**{**values, **changes})  # type: ignore[arg-type]


def _wanted(crowd: Crowd) -> Floats:
    """(N, 2) the velocity each walker would take if it were alone; nobody who waits wants to move."""
    goal = np.array([route.points_m[k] for route, k in zip(crowd.routes, crowd.leg, strict=True)])
    speed = np.array([route.speed_mps for route in crowd.routes])
    pausing = np.array([route.pauses_s[k] > 0 for route, k in zip(crowd.routes, crowd.leg, strict=True)])
    gap = goal.reshape(-1, 2) - crowd.floor_m
    gap_m = np.maximum(np.linalg.norm(gap, axis=1), 1e-9)
    speed = np.where(pausing, speed * np.clip(gap_m / 1.2, 0.4, 1.0), speed)
    speed = np.where(crowd.present & (crowd.wait_s <= 0.0), speed, 0.0)
    return np.asarray(gap / gap_m[:, None] * speed[:, None])


def _steer(crowd: Crowd, wanted: Floats, layout: Layout, discs_m: Floats) -> Floats:
    """(N, 2) the velocity each walker picks."""
    x, y = crowd.floor_m.T
    u, v = crowd.velocity_mps.T
    fan_u, fan_v = fan(wanted, crowd.velocity_mps)
    gap = ((x[None, :] - x[:, None])[:, None], (y[None, :] - y[:, None])[:, None])
    # Each of two walkers leaves half of the way round to the other; who stands still leaves all of it.
    share = np.where(crowd.wait_s > 0.0, 1.0, 2.0)
    rest_u = np.where(crowd.wait_s > 0.0, 0.0, u[:, None] + u)[:, None]
    rest_v = np.where(crowd.wait_s > 0.0, 0.0, v[:, None] + v)[:, None]
    nearing = (fan_u[:, :, None] * share - rest_u, fan_v[:, :, None] * share - rest_v)
    touch = time_to_touch(gap, nearing, BODY_M)
    apart = ~(crowd.present[:, None] & crowd.present) | np.eye(len(x), dtype=bool)
    touch = np.where(apart[:, None], np.inf, touch).min(axis=2, initial=np.inf)
    rim = ((discs_m[:, 0] - x[:, None])[:, None], (discs_m[:, 1] - y[:, None])[:, None])
    solid = time_to_touch(rim, (fan_u[:, :, None], fan_v[:, :, None]), discs_m[:, 2] + CLEARANCE_M).min(axis=2)
    soonest = np.minimum(touch, np.where(solid < 1.6, solid, np.inf))
    danger = np.where(soonest < HORIZON_S, 1.1 / (soonest + 0.15) - 1.1 / (HORIZON_S + 0.15), 0.0)
    effort = np.hypot(fan_u - wanted[:, :1], fan_v - wanted[:, 1:])
    effort += 0.3 * np.hypot(fan_u - u[:, None], fan_v - v[:, None])
    effort[:, -1] += IDLING * (crowd.wait_s <= 0.0)
    width, depth = layout.size_m
    rows = np.flatnonzero((np.minimum(np.minimum(x, width - x), np.minimum(y, depth - y)) < 1.0) & crowd.present)
    ahead = np.stack((x[rows, None] + 0.35 * fan_u[rows], y[rows, None] + 0.35 * fan_v[rows]), axis=-1)
    effort[rows] += 6.0 * ~layout.walkable(ahead)
    best = (effort + danger).argmin(axis=1)
    every = np.arange(len(x))
    return np.stack((fan_u[every, best], fan_v[every, best]), axis=1)


def _move(crowd: Crowd, velocity: Floats, layout: Layout, discs_m: Floats) -> tuple[Floats, Floats]:
    """Positions and velocities after the step; a move that leads too near to anything is bent or left out."""
    floor_m, velocity = crowd.floor_m.copy(), velocity.copy()
    ahead = floor_m + velocity * STEP_S
    others = crowd.present[None, :] & ~np.eye(len(ahead), dtype=bool)
    midway = (floor_m + ahead) / 2
    gap = np.minimum(_distances(ahead, floor_m), np.minimum(_distances(ahead, ahead), _distances(midway, midway)))
    tight = (np.where(others, gap, np.inf) < APART_M).any(axis=1) | ~_standable(ahead, layout, discs_m)
    for k in np.flatnonzero(crowd.present).tolist():
        if tight[k]:
            velocity[k] = _bend(floor_m[k], velocity[k], floor_m[others[k]], layout, discs_m)
        floor_m[k] = floor_m[k] + velocity[k] * STEP_S
    return floor_m, velocity


def _distances(a: Floats, b: Floats) -> Floats:
    return np.hypot(a[..., 0, None] - b[:, 0], a[..., 1, None] - b[:, 1])


def _standable(floor_m: Floats, layout: Layout, discs_m: Floats) -> NDArray[np.bool_]:
    clear = (_distances(floor_m, discs_m) >= discs_m[:, 2] + BARE_M).all(axis=-1)
    return clear & layout.walkable(floor_m, 0.22)


def _bend(spot_m: Floats, velocity: Floats, around_m: Floats, layout: Layout, discs_m: Floats) -> Floats:
    """The first velocity that keeps all distances: as planned, turned further and further, or none at all."""
    u, v = velocity
    speed = max(float(np.hypot(u, v)), 0.3)
    angle = np.arctan2(v, u) + np.radians([0, -40, 40, -80, 80, -120, 120, 180])
    options = np.stack((np.cos(angle), np.sin(angle)), axis=1) * np.minimum(speed, 0.6)
    options[0] = velocity
    ahead = spot_m + options * STEP_S
    good = (_distances(ahead, around_m) >= APART_M).all(axis=1) & _standable(ahead, layout, discs_m)
    return options[good.argmax()] if good.any() else np.zeros(2)
