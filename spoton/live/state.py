"""The live state of a site: fed with events, read by the API, fanned out to clients."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

from spoton import events
from spoton.events import AnyEvent
from spoton.live.camera_feed import CameraFeed, Picture
from spoton.live.fanout import QUEUE_SIZE, Fanout, Subscription, Traffic
from spoton.live.floor import Floor
from spoton.live.messages import (
    Behaviour,
    BoxNow,
    CameraBoxes,
    CameraChanged,
    CameraNow,
    Identity,
    Interest,
    PersonNow,
    Snapshot,
    Tracking,
)
from spoton.site import Site

EVERYTHING = Interest()
OUTCOMES = 256
"""So many corrections are remembered with what they led to."""


def wall_clock_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class LiveState:
    """What is so right now at one site. All calls are synchronous and belong to one event loop.

    detectors: camera -> name of what will look at its pictures, until the first event says so itself.
    now_us: the clock that ages and sending times are measured with. skews, drifts: the newest word on each camera's
    clock and standing.
    """

    def __init__(
        self, site: Site, *, detectors: Mapping[str, str] | None = None, now_us: Callable[[], int] = wall_clock_us
    ) -> None:
        self.site = site.name
        self._now_us = now_us
        names = detectors or {}
        self._cameras = {one.name: CameraFeed(one.name, names.get(one.name, "")) for one in site.cameras}
        self._floor = Floor()
        self.skews: dict[str, events.ClockSkewed] = {}
        self.drifts: dict[str, events.CalibrationDrifted] = {}
        self._outcomes: OrderedDict[str, AnyEvent] = OrderedDict()
        self._last_seq: dict[tuple[str, str], int] = {}
        self._newest_at = 0
        self._fanout = Fanout(self._fresh)

    def name_detectors(self, names: Mapping[str, str]) -> None:
        """What will look at each camera's pictures, until its first event says so itself."""
        for name, detector in names.items():
            self._feed(name).detector = detector

    def serve(self, cameras: Collection[str]) -> None:
        """These are the cameras of the site from now on; the others are forgotten."""
        for name in set(self._cameras) - set(cameras):
            del self._cameras[name]
        for name in cameras:
            self._feed(name)

    def apply(self, event: AnyEvent) -> None:
        """Take an event in; one of another site, or one seen before, changes nothing."""
        if event.site != self.site or self._seen(event):
            return
        self._newest_at = max(self._newest_at, event.at)
        if event.stream == "detections":
            self._apply_to_camera(event)
        elif isinstance(event, events.PeopleLocated):
            self._publish_people(event.at, self._floor.located(event))
        elif event.stream == "identities":
            self._apply_to_floor(event)
            self._fanout.publish(Identity(seq=self._fanout.next_seq(), at=event.at, sent=self._now_us(), event=event))
        else:
            self._fanout.publish(Behaviour(seq=self._fanout.next_seq(), at=event.at, sent=self._now_us(), event=event))

    def picture(self, camera: str, frame: int, at: int, jpeg: bytes) -> None:
        """The newest picture of a camera; fed for every captured frame, before or after the frame's event."""
        self._feed(camera).picture(Picture(frame, at, jpeg))

    def newest_picture(self, camera: str) -> Picture | None:
        """The newest picture fit to show; None when there is none. Raises KeyError for a camera never heard of."""
        return self._cameras[camera].shown()

    def cameras(self) -> list[CameraNow]:
        """Every camera's health, those of the site first."""
        now_us = self._now_us()
        return [feed.now(now_us) for feed in self._cameras.values()]

    def persons(self, *, trails: bool = False) -> list[PersonNow]:
        """Everyone on the floor, by number."""
        return self._floor.persons(trails=trails)

    def snapshot(self) -> Snapshot:
        """Everything at once."""
        return self._fresh("connected")

    def newest_at(self) -> int | None:
        """Event time of the newest event, None before the first."""
        return self._newest_at or None

    def event_age_s(self) -> float | None:
        """How far the newest event lies behind the clock; None before the first event."""
        return (self._now_us() - self._newest_at) / 1e6 if self._newest_at else None

    def subscribe(self, interest: Interest = EVERYTHING, *, queue_size: int = QUEUE_SIZE) -> Subscription:
        """A new live client; ``close`` the subscription when done."""
        return self._fanout.subscribe(interest, queue_size)

    def traffic(self) -> Traffic:
        """How many clients listen, and what they were sent."""
        return self._fanout.traffic()

    def now_us(self) -> int:
        """The clock's time."""
        return self._now_us()

    def _seen(self, event: AnyEvent) -> bool:
        key = (event.stream, getattr(event, "camera", "") if event.stream == "detections" else "")
        if event.seq <= self._last_seq.get(key, 0):
            return True
        self._last_seq[key] = event.seq
        return False

    def _feed(self, camera: str) -> CameraFeed:
        feed = self._cameras.get(camera)
        if feed is None:
            feed = self._cameras[camera] = CameraFeed(camera)
        return feed

    def _apply_to_camera(self, event: AnyEvent) -> None:
        now_us = self._now_us()
        match event:
            case events.PeopleDetected():
                feed = self._feed(event.camera)
                began = feed.status != "online"
                feed.detected(event, now_us)
                self._floor.ended(event.camera, event.ended)
                if began:
                    self._publish_camera(event.at, feed)
                self._publish_boxes(event.at, feed)
            case events.FramesSkipped():
                self._feed(event.camera).skipped(event)
            case events.CameraOnline():
                self._feed(event.camera).online(event)
                self._publish_camera(event.at, self._feed(event.camera))
            case events.CameraOffline():
                self._feed(event.camera).offline(event)
                self._publish_camera(event.at, self._feed(event.camera))

    def outcome(self, command: str) -> AnyEvent | None:
        """What an operator's correction led to; None before that is known, or long after."""
        return self._outcomes.get(command)

    def _remember_outcome(self, event: AnyEvent) -> None:
        evidence = getattr(event, "evidence", None)
        command = event.command if isinstance(event, events.CorrectionRefused) else getattr(evidence, "command", "")
        if command:
            self._outcomes[command] = event
            if len(self._outcomes) > OUTCOMES:
                self._outcomes.popitem(last=False)

    def _apply_to_floor(self, event: AnyEvent) -> None:
        self._remember_outcome(event)
        match event:
            case events.PersonAppeared() | events.PersonReturned():
                self._floor.appeared(event)
            case events.TrackAssigned():
                self._floor.assigned(event)
            case events.PersonHandedOver():
                self._floor.handed_over(event)
            case events.PersonsMerged():
                self._floor.merged(event)
            case events.PersonSplit():
                self._floor.split(event)
            case events.TrackReassigned():
                self._floor.reassigned(event)
            case events.PersonLeft():
                self._floor.left(event)
            case events.ClockSkewed():
                self.skews[event.camera] = event
            case events.CalibrationDrifted():
                self.drifts[event.camera] = event

    def _publish_people(self, at: int, persons: list[PersonNow]) -> None:
        self._fanout.publish(Tracking(seq=self._fanout.next_seq(), at=at, sent=self._now_us(), persons=persons))

    def _publish_boxes(self, at: int, feed: CameraFeed) -> None:
        seq, boxes = self._fanout.next_seq(), self._boxes(feed)
        if self._fanout.listening() and boxes is not None:
            self._fanout.publish(Tracking(seq=seq, at=at, sent=self._now_us(), cameras={feed.name: boxes}))

    def _publish_camera(self, at: int, feed: CameraFeed) -> None:
        now_us = self._now_us()
        self._fanout.publish(CameraChanged(seq=self._fanout.next_seq(), at=at, sent=now_us, camera=feed.now(now_us)))

    def _boxes(self, feed: CameraFeed) -> CameraBoxes | None:
        newest = feed.newest
        if newest is None:
            return None
        boxes = []
        for box_px, score, track in zip(newest.boxes_px, newest.scores, newest.tracks, strict=True):
            if track:
                person, number = self._floor.who(feed.name, track) or (None, None)
                boxes.append(BoxNow(track=track, person=person, number=number, box_px=box_px, score=score))
        return CameraBoxes(
            frame=newest.frame,
            at=newest.at,
            size_px=newest.size_px,
            fps=feed.fps(self._now_us()),
            frames_skipped=feed.frames_skipped,
            has_picture=feed.shown() is not None,
            boxes=boxes,
        )

    def _fresh(self, reason: str) -> Snapshot:
        boxes = {feed.name: self._boxes(feed) for feed in self._cameras.values()}
        return Snapshot(
            seq=self._fanout.seq,
            at=self._newest_at,
            sent=self._now_us(),
            reason=reason,
            persons=self.persons(trails=True),
            cameras=self.cameras(),
            boxes={name: there for name, there in boxes.items() if there is not None},
        )
