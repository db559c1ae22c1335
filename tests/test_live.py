"""Live state: what is so right now, and every client at its own pace."""

from __future__ import annotations

import asyncio
import json
from types import ModuleType
from typing import Any

import pytest

from spoton import events
from spoton.events import Evidence, Located, TrackRef, event_id
from spoton.live.fanout import Subscription, encode
from spoton.live.messages import Interest
from spoton.live.state import LiveState
from spoton.sim.plaza import Plaza
from spoton.site import CameraSite, Site, Zone

START_US = 1_700_000_000_000_000
SITE = Site(
    name="plaza",
    cameras=(CameraSite("north"), CameraSite("south")),
    zones=(Zone("door", ((0, 0), (1, 0), (1, 1))),),
)


class Story:
    """Makes events in order into one live state, with a clock that the test sets."""

    def __init__(self) -> None:
        self.clock_us = START_US
        self.live = LiveState(SITE, detectors={"north": "built-in"}, now_us=lambda: self.clock_us)
        self._seqs: dict[tuple[str, str], int] = {}

    def make(self, kind: type[events.Event], s: float, **fields: Any) -> Any:
        key = fields.get("camera", "plaza") if kind.stream == "detections" else "plaza"
        seq = self._seqs[kind.stream, key] = self._seqs.get((kind.stream, key), 0) + 1
        at = START_US + round(s * 1e6)
        return kind(id=event_id(kind.stream, key, seq, at), at=at, site="plaza", seq=seq, **fields)

    def tell(self, kind: type[events.Event], s: float, **fields: Any) -> Any:
        event = self.make(kind, s, **fields)
        self.clock_us = max(self.clock_us, event.at + 20_000)
        self.live.apply(event)
        return event

    def detect(self, s: float, *tracks: int, camera: str = "north", frame: int | None = None) -> Any:
        return self.tell(
            events.PeopleDetected, s, camera=camera, frame=round(s * 10) if frame is None else frame,
            size_px=(640, 480), boxes_px=[(10.0 * t, 20.0, 30.0, 60.0) for t in tracks], scores=[0.9] * len(tracks),
            tracks=list(tracks), detector="picodet-s",
        )  # fmt: skip

    def appear(self, s: float, number: int, *seen: TrackRef) -> Any:
        return self.tell(
            events.PersonAppeared, s, person=f"p-{number}", number=number, x_m=1.0, y_m=2.0, seen=list(seen)
        )

    def locate(self, s: float, *people: Located) -> Any:
        return self.tell(events.PeopleLocated, s, tick=round(s * 10), frames={}, people=list(people))

    def camera(self, name: str = "north") -> Any:
        return next(camera for camera in self.live.cameras() if camera.name == name)

    def box_owners(self) -> list[tuple[int, str | None, int | None]]:
        boxes = self.live.snapshot().boxes["north"].boxes
        return [(box.track, box.person, box.number) for box in boxes]


def located(number: int, x: float = 1.0, *, cameras: tuple[str, ...] = ("north",), zone: str | None = None) -> Located:
    return Located(
        person=f"p-{number}", number=number, x_m=x, y_m=2.0, vx_m_s=0.5, vy_m_s=0.0, cov_m2=(0.1, 0.0, 0.1),
        seen=[TrackRef(camera, number) for camera in cameras], zone=zone,
    )  # fmt: skip


@pytest.fixture
def story() -> Story:
    return Story()


async def heard(subscription: Subscription, count: int) -> list[dict[str, Any]]:
    return [json.loads(await asyncio.wait_for(anext(subscription), 5)) for _ in range(count)]


def test_a_camera_waits_then_is_online_then_offline_with_its_reason(story: Story) -> None:
    assert (story.camera().status, story.camera().detector, story.camera().fps) == ("waiting", "built-in", None)
    story.tell(events.CameraOnline, 0, camera="north", session=1, size_px=(640, 480), epoch=START_US)
    assert (story.camera().status, story.camera().size_px) == ("online", (640, 480))
    story.detect(0.1, 7)
    assert (story.camera().people, story.camera().frame, story.camera().detector) == (1, 1, "picodet-s")
    story.tell(events.CameraOffline, 0.2, camera="north", session=1, reason="cable cut")
    assert (story.camera().status, story.camera().reason, story.camera().people) == ("offline", "cable cut", 0)
    story.detect(0.3)
    assert story.camera().status == "online"
    story.tell(events.CameraOffline, 0.4, camera="north", session=1, reason="", ended=True)
    assert story.camera().status == "ended"


def test_frames_per_second_are_measured_over_the_last_five_seconds_of_event_time(story: Story) -> None:
    for n in range(100):
        story.detect(n / 10)
    assert story.camera().fps == pytest.approx(10.0)
    for n in range(11):
        story.detect(10 + n / 2)
    assert story.camera().fps == pytest.approx(2.0)


def test_a_camera_that_falls_silent_has_zero_frames_per_second(story: Story) -> None:
    for n in range(10):
        story.detect(n / 10)
    story.clock_us += 6_000_000
    assert story.camera().fps == 0.0
    assert story.camera().last_frame_age_s == pytest.approx(6.0)
    assert story.camera().lag_s == pytest.approx(0.02)


def test_skipped_frames_are_counted_both_ends_included(story: Story) -> None:
    story.tell(events.FramesSkipped, 0, camera="north", first=3, last=7)
    story.tell(events.FramesSkipped, 0, camera="north", first=9, last=9)
    assert story.camera().frames_skipped == 6
    assert story.camera("south").frames_skipped == 0


def test_repeated_and_foreign_events_change_nothing(story: Story) -> None:
    told = [
        story.detect(0.1, 7),
        story.tell(events.FramesSkipped, 0.1, camera="north", first=2, last=3),
        story.appear(0.1, 7, TrackRef("north", 7)),
        story.locate(0.1, located(7)),
        story.locate(0.2, located(7, 1.5)),
    ]
    before = story.live.snapshot()
    for event in told:
        story.live.apply(event)
    elsewhere = story.make(events.PersonLeft, 0.3, person="p-7", x_m=0.0, y_m=0.0, last_at=START_US)
    story.live.apply(type(elsewhere)(**{f: getattr(elsewhere, f) for f in elsewhere.__struct_fields__} | {"site": "x"}))
    assert story.live.snapshot() == before


@pytest.mark.parametrize("picture_first", [True, False], ids=["picture before boxes", "boxes before picture"])
def test_a_picture_is_shown_once_its_boxes_are_known(story: Story, picture_first: bool) -> None:
    def feed(n: int) -> None:
        at = START_US + n * 100_000
        if picture_first:
            story.live.picture("north", n, at, b"jpeg %d" % n)
            story.detect(n / 10, frame=n)
        else:
            story.detect(n / 10, frame=n)
            story.live.picture("north", n, at, b"jpeg %d" % n)

    assert story.live.newest_picture("north") is None
    feed(1)
    feed(2)
    newest = story.live.newest_picture("north")
    assert newest is not None
    assert (newest.frame, newest.at, newest.jpeg) == (2, START_US + 200_000, b"jpeg 2")
    story.live.picture("north", 3, START_US + 300_000, b"not looked at")
    assert story.live.newest_picture("north") == newest


def test_pictures_go_on_when_nothing_looks_at_them(story: Story) -> None:
    for n in range(60):
        story.live.picture("north", n, START_US + n * 100_000, b"jpeg %d" % n)
    newest = story.live.newest_picture("north")
    assert newest is not None
    assert newest.frame == 59
    with pytest.raises(KeyError):
        story.live.newest_picture("nowhere")


def test_a_box_belongs_to_whom_identity_says(story: Story) -> None:
    story.detect(0.1, 1, 2, 0)
    assert story.box_owners() == [(1, None, None), (2, None, None)]
    story.appear(0.1, 10, TrackRef("north", 1))
    story.appear(0.1, 11)
    story.tell(events.TrackAssigned, 0.1, person="p-11", camera="north", track=2, evidence=Evidence())
    assert story.box_owners() == [(1, "p-10", 10), (2, "p-11", 11)]
    story.tell(events.PersonsMerged, 0.2, person="p-10", merged="p-11", evidence=Evidence())
    assert story.box_owners() == [(1, "p-10", 10), (2, "p-10", 10)]
    story.tell(
        events.PersonSplit, 0.3, person="p-10", new_person="p-12", number=12, tracks=[TrackRef("north", 2)],
        evidence=Evidence(),
    )  # fmt: skip
    assert story.box_owners() == [(1, "p-10", 10), (2, "p-12", 12)]
    story.tell(
        events.PersonHandedOver, 0.4, person="p-12", from_camera="south", to_camera="north", track=1,
        evidence=Evidence(),
    )  # fmt: skip
    assert story.box_owners() == [(1, "p-12", 12), (2, "p-12", 12)]
    story.tell(events.PersonLeft, 0.5, person="p-12", x_m=0.0, y_m=0.0, last_at=START_US)
    assert story.box_owners() == [(1, None, None), (2, None, None)]
    assert [one.person for one in story.live.persons()] == ["p-10"]


def test_people_are_where_they_were_located_last_with_ten_seconds_of_trail(story: Story) -> None:
    for n in range(300):
        story.locate(n / 10, located(7, n / 100, zone="door"))
    (one,) = story.live.persons(trails=True)
    assert (one.x_m, one.zone, one.at) == (2.99, "door", START_US + 29_900_000)
    assert one.trail_m[0] == (START_US + 19_900_000, 1.99, 2.0)
    assert len(one.trail_m) == 101


def test_who_is_never_heard_of_again_is_forgotten(story: Story) -> None:
    story.appear(0, 1, TrackRef("north", 1))
    story.locate(0, located(1))
    story.locate(61, located(2))
    assert [one.number for one in story.live.persons()] == [2]


async def test_a_client_gets_a_snapshot_then_everything_in_order(story: Story) -> None:
    story.appear(0, 7, TrackRef("north", 7))
    client = story.live.subscribe()
    (snapshot,) = await heard(client, 1)
    assert (snapshot["type"], snapshot["reason"]) == ("snapshot", "connected")
    assert [one["number"] for one in snapshot["persons"]] == [7]
    story.detect(0.1, 7)
    story.locate(0.1, located(7, 1.25))
    story.tell(events.ZoneEntered, 0.1, person="p-7", zone="door")
    story.tell(events.PersonLeft, 0.2, person="p-7", x_m=0.0, y_m=0.0, last_at=START_US)
    told = await heard(client, 5)
    assert [one["type"] for one in told] == ["camera", "tracking", "tracking", "behaviour", "identity"]
    seqs = [snapshot["seq"], *(one["seq"] for one in told)]
    assert seqs == sorted(set(seqs))
    assert told[1]["cameras"]["north"]["boxes"][0] == {
        "track": 7, "person": "p-7", "number": 7, "box_px": [70.0, 20.0, 30.0, 60.0], "score": 0.9,
    }  # fmt: skip
    assert told[2]["persons"][0]["x_m"] == 1.25
    assert told[4]["event"]["type"] == "PersonLeft"


async def test_a_slow_client_gets_a_fresh_snapshot_and_slows_nobody(story: Story) -> None:
    slow, quick = story.live.subscribe(queue_size=5), story.live.subscribe()
    await heard(slow, 1)
    await heard(quick, 1)
    for n in range(50):
        story.locate(n / 10, located(7, n / 10))
    assert [one["seq"] for one in await heard(quick, 50)] == list(range(1, 51))
    (snapshot,) = await heard(slow, 1)
    assert (snapshot["type"], snapshot["reason"], snapshot["seq"]) == ("snapshot", "fell_behind", 50)
    assert snapshot["persons"][0]["x_m"] == 4.9
    assert story.live.traffic().dropped == 50
    story.locate(5.0, located(7, 5.0))
    assert (await heard(slow, 1))[0]["seq"] == 51


async def test_a_client_hears_of_what_it_wants_only(story: Story) -> None:
    client = story.live.subscribe(Interest(cameras=frozenset({"south"})))
    await heard(client, 1)
    story.detect(0.1, 7, camera="north")
    story.detect(0.1, 8, camera="south")
    story.locate(0.1, located(7), located(8, cameras=("south",)))
    told = await heard(client, 3)
    assert (told[0]["type"], told[0]["camera"]["name"]) == ("camera", "south")
    assert list(told[1]["cameras"]) == ["south"]
    assert [one["number"] for one in told[2]["persons"]] == [8]

    client.want(Interest(zones=frozenset({"door"})))
    story.locate(0.2, located(7, zone="door"), located(8))
    story.locate(0.3, located(7), located(8))
    told = await heard(client, 1)
    assert (told[0]["type"], told[0]["reason"]) == ("snapshot", "subscribed")
    story.locate(0.4, located(7, zone="door"), located(8))
    assert [one["number"] for one in told[0]["persons"]] == []
    assert [one["number"] for one in (await heard(client, 1))[0]["persons"]] == [7]


async def test_closing_ends_a_client_and_a_cancelled_wait_loses_nothing(story: Story) -> None:
    client = story.live.subscribe()
    await heard(client, 1)
    waiting = asyncio.create_task(anext(client))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    story.locate(0.1, located(7))
    assert (await heard(client, 1))[0]["seq"] == 1
    assert story.live.traffic().clients == 1
    client.close()
    client.close()
    assert [text async for text in client] == []
    assert story.live.traffic().clients == 0


async def test_what_a_client_hears_adds_up_to_the_state(plaza_feed: ModuleType) -> None:
    """Snapshot plus messages gives the people and the boxes of a later snapshot, whenever the client came."""
    plaza = Plaza(seed=3, people=6, cameras=2, fps=5.0, size_px=(160, 120))
    site = plaza_feed.site_of(plaza)
    live = LiveState(site, now_us=lambda: START_US)
    feed = plaza_feed.PlazaFeed(plaza, live, site, begin_us=START_US)
    clients = []
    for n in range(12):
        if n % 4 == 0:
            client = live.subscribe()
            clients.append((client, (await heard(client, 1))[0]))
        feed.tick(n)
    wanted = json.loads(encode(live.snapshot()))
    assert len(wanted["persons"]) == 6
    for client, snapshot in clients:
        persons = {one["person"]: one for one in snapshot["persons"]}
        boxes = dict(snapshot["boxes"])
        client.close()
        async for text in client:
            told = json.loads(text)
            for one in told.get("persons") or []:
                persons[one["person"]] = one
            boxes |= told.get("cameras") or {}
        for one in (*persons.values(), *wanted["persons"]):
            one.pop("trail_m", None)
        assert sorted(persons.values(), key=lambda one: one["number"]) == wanted["persons"]
        assert {name: there["at"] for name, there in boxes.items()} == {
            name: there["at"] for name, there in wanted["boxes"].items()
        }
