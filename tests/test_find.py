"""From recorded looks to who looks like a picture: a gallery folded from events, searched from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from spoton import events, tracks
from spoton.cli import app
from spoton.errors import InputError, SpotOnError
from spoton.gallery.following import FollowedGallery
from spoton.offline import find
from spoton.site import Thresholds
from spoton.vision.histogram_embedder import HistogramEmbedder
from spoton.vision.looks import with_looks

SIZE = (640, 480)
COATS = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (40, 40, 200)}


def figure(coat):
    picture = np.full((150, 60, 3), 120, dtype=np.uint8)
    cv2.circle(picture, (30, 18), 12, (205, 165, 135), -1)
    cv2.rectangle(picture, (14, 32), (46, 90), coat, -1)
    cv2.rectangle(picture, (18, 90), (42, 148), (40, 40, 50), -1)
    for y in range(40, 90, 12):
        cv2.line(picture, (14, y), (46, y), (235, 235, 235), 2)
    return picture


def recorded(frames=12, epoch=0, embedder=None):
    """The events of three people who walk side by side, in pictures."""
    state, told = tracks.initial(), []
    for index in range(frames):
        picture = np.full((SIZE[1], SIZE[0], 3), 120, dtype=np.uint8)
        boxes = np.array([[60 + 200 * k + 2 * index, 100, 60, 150] for k in range(3)], dtype=float)
        for coat, (left, top, wide, tall) in zip(COATS.values(), boxes.astype(int), strict=True):
            picture[top : top + tall, left : left + wide] = figure(coat)
        boxes_px, scores = tracks.quantise(boxes, np.full(3, 0.9))
        seen = tracks.FrameSeen(
            site="plaza", camera="north", frame=index, at=epoch + index * 100_000, session=1, size_px=SIZE,
            boxes_px=boxes_px, scores=scores, detector="test",
        )  # fmt: skip
        seen, _ = with_looks(seen, picture, state, Thresholds(), embedder or HistogramEmbedder())
        decided, state = tracks.step(state, seen, Thresholds())
        told += decided
    return told


def identity(kind, seq=1, **fields):
    head = {"id": f"i{seq}", "at": 2_000_000 + seq, "site": "plaza", "seq": seq}
    return kind(**head, evidence=events.Evidence(by="place"), **fields)


def followed(told):
    made = FollowedGallery()
    for event in told:
        made.apply(event)
    return made.gallery


def best(gallery, coat):
    return gallery.search(HistogramEmbedder().embed([figure(COATS[coat])])).of(0)[0][0]


def test_tracks_are_found_by_what_they_look_like():
    gallery = followed(recorded())
    assert set(gallery) == {"north/1", "north/2", "north/3"}
    assert [best(gallery, coat) for coat in COATS] == ["north/1", "north/2", "north/3"]
    assert gallery.model == "histogram"


def test_looks_go_to_whom_a_track_turns_out_to_be():
    assigned = [identity(events.TrackAssigned, k, person=f"p-{k}", camera="north", track=k) for k in (1, 2, 3)]
    before = followed([*recorded(), *assigned])
    head, tail = recorded()[:7], recorded()[7:]
    between = followed([*head, *assigned, *tail])
    for gallery in (before, between):
        assert set(gallery) == {"p-1", "p-2", "p-3"}
        assert [best(gallery, coat) for coat in COATS] == ["p-1", "p-2", "p-3"]


def test_a_merged_person_brings_their_looks_along():
    assigned = [identity(events.TrackAssigned, k, person=f"p-{k}", camera="north", track=k) for k in (1, 2, 3)]
    merged = identity(events.PersonsMerged, 4, person="p-1", merged="p-3")
    gallery = followed([*recorded()[:7], *assigned, merged, *recorded()[7:]])
    assert set(gallery) == {"p-1", "p-2"}
    assert (best(gallery, "red"), best(gallery, "blue")) == ("p-1", "p-1")


def test_looks_of_another_embedder_begin_a_gallery_anew():
    class Other(HistogramEmbedder):
        name = "other"

    gallery = followed([*recorded(), *recorded(embedder=Other())])
    assert gallery.model == "other"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(events.encode(event) + b"\n" for event in recorded()))
    for coat, colour in COATS.items():
        cv2.imwrite(str(tmp_path / f"{coat}.png"), cv2.cvtColor(figure(colour), cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(tmp_path / "blurred.png"), cv2.GaussianBlur(figure(COATS["red"]), (0, 0), 8))
    return tmp_path


def spoton(*words: str) -> tuple[int, str]:
    told = CliRunner().invoke(app, words)
    return (1, str(told.exception)) if isinstance(told.exception, SpotOnError) else (told.exit_code, told.output)


def test_the_command_names_them_and_keeps_what_it_made(written):
    kept = written / "people.gallery"
    wanted = [str(written / f"{coat}.png") for coat in COATS]
    code, said = spoton(
        "find", *wanted, "--events", str(written / "events.jsonl"), "--gallery", str(kept), "--json", "--k", "2"
    )
    assert code == 0
    result = json.loads(said.splitlines()[-1])
    assert (result["model"], result["people"]) == ("histogram", 3)
    assert [one["people"][0]["person"] for one in result["found"]] == ["north/1", "north/2", "north/3"]
    assert all(len(one["people"]) == 2 and one["people"][0]["score"] > 0.9 for one in result["found"])
    assert result["found"][0]["people"][0]["last_at"] == 1_000_000
    code, said = spoton("find", *wanted, "--gallery", str(kept), "--json", "--k", "2")
    assert json.loads(said.splitlines()[-1]) == result, "the kept gallery answers the same"
    code, said = spoton("find", str(written / "blurred.png"), "--gallery", str(kept))
    assert "the picture is blurred" in said


def test_what_cannot_be_searched_is_one_line(written):
    red = str(written / "red.png")
    assert spoton("find", red) == (1, "nothing to search in; give --events tracks/events.jsonl, or --gallery FILE")
    whole = (written / "events.jsonl").read_bytes()
    (written / "events.jsonl").write_bytes(whole[:-40])
    lines = whole.count(b"\n")
    code, said = spoton("find", red, "--events", str(written / "events.jsonl"))
    assert code == 1
    assert f"events.jsonl:{lines}: no event" in said
    (written / "events.jsonl").write_bytes(whole)
    (written / "note.txt").write_text("no picture")
    assert "note.txt: not a picture (10 bytes)" in spoton(
        "find", str(written / "note.txt"), "--events", str(written / "events.jsonl")
    )[1]  # fmt: skip
    with pytest.raises(InputError, match=r"gone.jsonl: cannot be read"):
        find.gallery_of(written / "gone.jsonl")
    (written / "empty.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty.jsonl: tells of no looks"):
        find.gallery_of(written / "empty.jsonl")


def test_another_embedder_than_the_recorded_one_is_refused(written):
    class Other(HistogramEmbedder):
        name = "other"

    file = written / "other.jsonl"
    file.write_bytes(b"".join(events.encode(event) + b"\n" for event in recorded(embedder=Other())))
    code, said = spoton("find", str(written / "red.png"), "--events", str(file), "--embedder", "histogram")
    assert code == 1
    assert "embedder 'histogram' (96 numbers) cannot be compared with looks of 'other' (96)" in said
