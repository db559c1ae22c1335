"""What is watched about the cameras of a site while people walk: their clocks, and whether one was moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import drift as drifts
from spoton import skew as clocks
from spoton.crowd import Crowd
from spoton.drift import Drift
from spoton.events import CalibrationDrifted, ClockSkewed, DetectionEvent, PeopleDetected
from spoton.sightings import Sightings, SiteView, boxes, sight
from spoton.skew import Skews
from spoton.ticks import Rhythm, Tick

Finding = tuple[type[ClockSkewed] | type[CalibrationDrifted], dict[str, Any]]
"""An event without its head: kind and fields."""


class Watch(msgspec.Struct, frozen=True):
    """What is known of the clocks and the standing of C cameras."""

    skews: Skews
    drift: Drift


def none_known(cameras: int) -> Watch:
    """Nothing known yet of that many cameras."""
    return Watch(clocks.none_known(cameras), drifts.none_known(("",) * cameras))


def on_time(watch: Watch, cameras: Sequence[str], event: DetectionEvent) -> DetectionEvent:
    """The event with what its camera's clock is off by taken out of its time."""
    return clocks.on_time(watch.skews, cameras, event)


def rhythm(watch: Watch, view: SiteView) -> Rhythm:
    """The site's rhythm, with as much more patience as times of cameras are shifted."""
    more_us = clocks.patience_us(watch.skews)
    return replace(view.rhythm, late_us=view.rhythm.late_us + more_us) if more_us else view.rhythm


def late(watch: Watch, event: DetectionEvent, closed_us: int, view: SiteView) -> Watch:
    """What is known after an event; of a frame that came after its tick was closed, where people were is looked at."""
    if not isinstance(event, PeopleDetected) or event.at > closed_us or event.camera not in view.cameras:
        return watch
    tick = Tick(event.at, (event,))
    skews = clocks.missed(watch.skews, sight(tick, boxes(tick), view), event.at)
    return msgspec.structs.replace(watch, skews=skews)


def learned(
    watch: Watch,
    raw: Sightings,
    sightings: Sightings,
    crowd: Crowd,
    owner: NDArray[np.int64],
    at_us: int,
    dt_s: float,
    view: SiteView,
) -> tuple[list[Finding], Watch]:
    """What is to be told after a tick, and what is known then; arguments as for ``skew.learned``."""
    before = watch.drift
    if before.calibrated != view.calibrated:
        before = drifts.of_cameras(before, view.cameras, view.cameras, view.calibrated)
    drift = drifts.watched(before, raw, sightings, crowd, owner, dt_s, view)
    told, skews = _skews_told(clocks.learned(watch.skews, raw, sightings, crowd, owner, at_us, dt_s), view)
    return told + _drifts_told(before, drift, view), Watch(skews, drift)


def _skews_told(skews: Skews, view: SiteView) -> tuple[list[Finding], Skews]:
    least_us = clocks.TOLD_S * 1e6
    # Not at every step on the way there.
    there = np.abs(skews.applied_us - skews.wanted_us) < least_us
    news = np.flatnonzero(there & (np.abs(skews.applied_us - skews.told_us) >= least_us))
    if not len(news):
        return [], skews
    skew_s, sigma_s = clocks.estimate(skews)
    found: list[Finding] = [
        (
            ClockSkewed,
            {
                "camera": view.cameras[row],
                "skew_s": round(float(skew_s[row]), 4),
                "sigma_s": round(float(sigma_s[row]), 4),
                "compensated_s": round(int(skews.applied_us[row]) / 1e6, 6),
            },
        )
        for row in news.tolist()
    ]
    told_us = skews.told_us.copy()
    told_us[news] = skews.applied_us[news]
    return found, msgspec.structs.replace(skews, told_us=told_us)


def _drifts_told(before: Drift, after: Drift, view: SiteView) -> list[Finding]:
    news = np.flatnonzero(before.drifted != after.drifted)
    moved_m, error_m = drifts.moved_m(after)
    return [
        (
            CalibrationDrifted,
            {
                "camera": view.cameras[row],
                "drifted": bool(after.drifted[row]),
                "moved_m": round(float(moved_m[row]), 3),
                "sigma_m": round(float(error_m[row]), 3),
            },
        )
        for row in news.tolist()
    ]


def of_cameras(watch: Watch, before: Sequence[str], after: Sequence[str]) -> Watch:
    """The same for another set of cameras."""
    known = dict(zip(before, watch.drift.calibrated, strict=True))
    calibrated = [known.get(name, "") for name in after]
    return Watch(
        clocks.of_cameras(watch.skews, before, after), drifts.of_cameras(watch.drift, before, after, calibrated)
    )
