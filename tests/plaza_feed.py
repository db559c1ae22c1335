"""A scripted live feed: the simulated plaza's truth as real events, in real time, into a LiveState."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import cv2
import numpy as np

from spoton import events
from spoton.events import TrackRef, event_id
from spoton.live.state import LiveState
from spoton.sim.plaza import Plaza
from spoton.site import CameraSite, Floor, Pinhole, Site, Zone

DETECTOR = "built-in"


def site_of(plaza: Plaza, *, name: str = "plaza") -> Site:
    """The plaza's cameras, floor and two zones as a site."""
    cameras = tuple(
        CameraSite(
            name=view.name,
            source=f"sim://{view.name}",
            size_px=view.size_px,
            calibration=Pinhole(
                K=tuple(map(tuple, view.K.tolist())), R=tuple(map(tuple, view.R.tolist())), t=tuple(view.t.tolist())
            ),
        )
        for view in plaza.views
    )
    zones = (
        Zone("Fountain", ((5.8, 4.0), (10.2, 4.0), (10.2, 8.2), (5.8, 8.2))),
        Zone("West gate", ((0.2, 4.9), (2.6, 4.9), (2.6, 7.9), (0.2, 7.9))),
    )
    return Site(name=name, cameras=cameras, floor=Floor(size_m=plaza.layout.size_m), zones=zones)


def zone_of(site: Site, x: float, y: float) -> str | None:
    for zone in site.zones:
        (left, bottom), (right, top) = zone.polygon_m[0], zone.polygon_m[2]
        if left <= x <= right and bottom <= y <= top:
            return zone.name
    return None


class PlazaFeed:
    """Makes the events of frame after frame. Track numbers are person numbers; person ids are ``p-<number>``."""

    def __init__(self, plaza: Plaza, live: LiveState, site: Site, begin_us: int | None = None) -> None:
        self.plaza, self.live, self.site = plaza, live, site
        self.begin_us = time.time_ns() // 1000 if begin_us is None else begin_us
        self.recorded: list[events.AnyEvent] = []
        self._seqs: dict[tuple[str, str], int] = {}
        self._known: set[int] = set()
        self._assigned: set[tuple[str, int]] = set()

    def event(self, kind: type[events.Event], key: str, at: int, **fields: Any) -> None:
        seq = self._seqs[kind.stream, key] = self._seqs.get((kind.stream, key), 0) + 1
        made = kind(id=event_id(kind.stream, key, seq, at), at=at, site=self.site.name, seq=seq, **fields)
        self.recorded.append(made)
        self.live.apply(made)

    def at(self, n: int) -> int:
        return self.begin_us + round(n * 1e6 / self.plaza.fps)

    def tick(self, n: int) -> None:
        """Everything that frame ``n`` gives: pictures and boxes of each camera, then identities and places."""
        at, seen = self.at(n), {}
        for index, camera in enumerate(self.site.cameras):
            for person in self._camera(n, at, index, camera.name):
                seen.setdefault(person, []).append(TrackRef(camera.name, person))
        self._people(n, at, seen)

    def _camera(self, n: int, at: int, index: int, name: str) -> list[int]:
        if n == 0:
            self.event(events.CameraOnline, name, at, camera=name, session=1, size_px=self.plaza.size_px, epoch=at)
        if n == 3 and index == 1:
            self.event(events.FramesSkipped, name, at, camera=name, first=1, last=2)
        picture = self.plaza.picture(n, index)
        ok, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
        assert ok
        self.live.picture(name, n, at, jpeg.tobytes())
        ids, boxes, visible = self.plaza.boxes(n, index)
        clear = visible >= 0.35
        tracks = ids[clear].tolist()
        self.event(
            events.PeopleDetected, name, at, camera=name, frame=n, size_px=self.plaza.size_px,
            boxes_px=[tuple(np.round(box, 2).tolist()) for box in boxes[clear]],
            scores=[0.9] * len(tracks), tracks=tracks, detector=DETECTOR,
        )  # fmt: skip
        return tracks

    def _people(self, n: int, at: int, seen: dict[int, list[TrackRef]]) -> None:
        now, later = self.plaza.instant(n), self.plaza.instant(n + 1)
        there = {int(i): place for i, place in zip(later.ids, later.floor_m, strict=True)}
        located = []
        for i, (x, y) in zip(now.ids.tolist(), now.floor_m.tolist(), strict=True):
            refs = seen.get(i, [])
            if i not in self._known and not refs:
                continue
            if i not in self._known:
                self._known.add(i)
                key = self.site.name
                self.event(events.PersonAppeared, key, at, person=f"p-{i}", number=i, x_m=x, y_m=y, seen=refs)
            for ref in refs:
                if ref not in self._assigned:
                    self._assigned.add(ref)
                    self.event(
                        events.TrackAssigned, self.site.name, at, person=f"p-{i}", camera=ref.camera, track=i,
                        evidence=events.Evidence(distance_m=0.1, gate_m=1.0),
                    )  # fmt: skip
            vx, vy = (there.get(i, np.array([x, y])) - (x, y)) * self.plaza.fps
            spread = 0.012 if refs else 0.12
            located.append(
                events.Located(
                    person=f"p-{i}", number=i, x_m=x, y_m=y, vx_m_s=float(vx), vy_m_s=float(vy),
                    cov_m2=(spread, 0.3 * spread, 0.7 * spread), seen=refs, zone=zone_of(self.site, x, y),
                )
            )  # fmt: skip
        frames = {camera.name: n for camera in self.site.cameras}
        self.event(events.PeopleLocated, self.site.name, at, tick=n, frames=frames, people=located)

    async def play(self, first: int = 0) -> None:
        """Go on for ever, in real time; frames that there was no time for are left out, and said to be."""
        n = first
        while True:
            await asyncio.sleep(max(0.001, self.at(n) / 1e6 - time.time()))
            self.tick(n)
            due = int((time.time() - self.begin_us / 1e6) * self.plaza.fps)
            if due > n + 1:
                for camera in self.site.cameras:
                    name = camera.name
                    self.event(events.FramesSkipped, name, self.at(due), camera=name, first=n + 1, last=due - 1)
            n = max(n + 1, due)
