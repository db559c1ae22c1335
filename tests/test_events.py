"""Events are what is kept for good: their ids, their bytes and their schema must not drift."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from spoton import events

SCHEMAS = Path(__file__).parent.parent / "docs" / "events"
HEAD: dict[str, Any] = {"id": events.event_id("s", "k", 1, 2), "at": 1_700_000_000_123_456, "site": "plaza", "seq": 1}
SEEN = [events.TrackRef("north", 3)]
EVIDENCE = events.Evidence(distance_m=0.4, gate_m=1.0, mahalanobis=2.5)

EXAMPLES = [
    events.PeopleDetected(
        **HEAD, camera="north", frame=7, size_px=(640, 480), boxes_px=[(1.25, 2.5, 30.0, 80.01)], scores=[0.9375],
        tracks=[3], started=[3], embeddings=[events.Embedding(row=0, model="histogram", data=b"\x00\x3c")],
        detector="built-in",
    ),
    events.FramesSkipped(**HEAD, camera="north", first=3, last=5),
    events.CameraAdded(**HEAD, by="operator", why="new door", camera="door", definition='[[camera]]\nname = "door"\n'),
    events.CameraRemoved(**HEAD, by="operator", camera="door"),
    events.CameraOnline(**HEAD, camera="north", session=1, size_px=(640, 480), epoch=1_700_000_000_000_000),
    events.CameraOffline(**HEAD, camera="north", session=1, reason="connection refused"),
    events.PersonAppeared(**HEAD, person="1-1", number=1, x_m=1.5, y_m=2.5, seen=SEEN),
    events.PersonReturned(
        **HEAD, person="1-1", number=1, x_m=1.5, y_m=2.5, seen=SEEN, evidence=events.Evidence(gap_s=9.5, by="looks")
    ),
    events.TrackAssigned(**HEAD, person="1-1", camera="north", track=3, evidence=EVIDENCE),
    events.PersonHandedOver(
        **HEAD, person="1-1", from_camera="north", to_camera="east", track=4, evidence=events.Evidence(gap_s=1.5)
    ),
    events.PersonsMerged(**HEAD, person="1-1", merged="1-2", evidence=events.Evidence(appearance=0.1)),
    events.PersonSplit(**HEAD, person="1-1", new_person="1-3", number=3, tracks=SEEN, evidence=EVIDENCE),
    events.TrackReassigned(
        **HEAD, person="1-1", number=1, from_person="1-3", camera="north", track=3,
        evidence=events.Evidence(by="operator", command=HEAD["id"], who="anna", why="her coat"),
    ),
    events.CorrectionRefused(**HEAD, command=HEAD["id"], reason="'1-9' is no person of this site", remedy="see who is"),
    events.MergeRequested(**HEAD, by="anna", why="her coat", person="1-1", merged="1-2"),
    events.SplitRequested(**HEAD, by="anna", person="1-1", tracks=SEEN),
    events.ReassignmentRequested(**HEAD, by="anna", person="1-1", camera="north", track=3),
    events.PersonLeft(**HEAD, person="1-1", x_m=1.5, y_m=2.5, last_at=1_700_000_000_000_000),
    events.ClockSkewed(**HEAD, camera="north", skew_s=0.2, sigma_s=0.01, compensated_s=0.2),
    events.CalibrationDrifted(**HEAD, camera="north", drifted=True, moved_m=0.5, sigma_m=0.05),
    events.PeopleLocated(
        **HEAD, tick=4, frames={"north": 7},
        people=[
            events.Located(
                person="1-1", number=1, x_m=1.5, y_m=2.5, vx_m_s=0.5, vy_m_s=-0.5, cov_m2=(0.01, 0.001, 0.02),
                seen=SEEN, zone="door",
            )
        ],
    ),
    events.ZoneEntered(**HEAD, person="1-1", zone="door"),
    events.ZoneLeft(**HEAD, person="1-1", zone="door", stayed_s=12.5),
]  # fmt: skip


def test_every_type_has_an_example_here() -> None:
    assert {type(example) for example in EXAMPLES} == set(events.EVENT_TYPES)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda e: type(e).__name__)
def test_an_event_survives_the_wire_and_always_has_the_same_bytes(event: events.AnyEvent) -> None:
    data = events.encode(event)
    assert events.decode(data) == event
    assert events.encode(events.decode(data)) == data
    assert json.loads(data)["type"] == type(event).__name__


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda e: type(e).__name__)
def test_the_published_schema_is_current_and_describes_what_is_sent(event: events.AnyEvent) -> None:
    published = json.loads((SCHEMAS / f"{type(event).__name__}.json").read_text())
    assert published == events.json_schemas()[type(event).__name__], "run `make schemas`"
    validator = jsonschema.Draft202012Validator(published)
    sent = json.loads(events.encode(event))
    validator.validate(sent)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**sent, "at": "yesterday"})


def test_no_schema_is_left_over() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == {t.__name__ for t in events.EVENT_TYPES}


def test_the_same_input_gives_the_same_id_and_any_other_another() -> None:
    ids = {
        events.event_id(stream, key, seq, at)
        for stream in ("detections", "positions")
        for key in ("plaza/a", "plaza/b")
        for seq in (1, 11)
        for at in (1, 2)
    }
    assert len(ids) == 16
    # Ids are kept for good: this one must come out on every machine and in every version.
    assert events.event_id("detections", "plaza/a", 1, 1) == "f52ff460-4144-986f-7414-73d8109038ec"


def test_an_older_version_is_read_through_its_upcasters() -> None:
    old = json.loads(events.encode(EXAMPLES[1])) | {"v": 0, "since": 3, "until": 5}
    del old["first"], old["last"]

    def from_v0(raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "first": raw.pop("since"), "last": raw.pop("until")}

    read = events.decode(json.dumps(old).encode(), {("FramesSkipped", 0): from_v0})
    assert read == EXAMPLES[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"{}", "missing required field `type`", id="no type"),
        pytest.param(b'{"type":"Rumour"}', "unknown event type 'Rumour'", id="unknown type"),
        pytest.param(
            events.encode(EXAMPLES[1]).replace(b'"v":1', b'"v":9'),
            "FramesSkipped version 9 is newer than this program",
            id="later version",
        ),
        pytest.param(events.encode(EXAMPLES[1]).replace(b'"first":3', b'"first":"x"'), "first", id="wrong value"),
    ],
)
def test_what_is_no_event_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        events.decode(data)


def test_captured_frames_travel_as_messagepack() -> None:
    frame = events.FrameCaptured(
        site="plaza", camera="north", frame=3, at=5, epoch=1, session=1, size_px=(4, 3), jpeg=b"\xff\xd8"
    )
    changed = events.SourceChanged(site="plaza", camera="north", at=5, session=1, online=False, reason="gone")
    assert events.decode_captured(events.encode_captured(frame)) == frame
    assert events.decode_captured(events.encode_captured(changed)) == changed
    with pytest.raises(msgspec.ValidationError):
        events.decode_captured(events.encode(EXAMPLES[0])[:10] + b"\x00")
