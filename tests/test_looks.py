"""Which boxes show somebody well, which crops are sharp, and what is told about looks saved."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from api import status
from api.looks import LooksMetrics
from spoton import glances, tracks
from spoton.site import Thresholds
from spoton.vision.histogram_embedder import HistogramEmbedder
from spoton.vision.looks import Tally, with_looks
from spoton.vision.sharpness import LEAST_SHARPNESS, sharpness

SIZE = (640, 480)


def judged(boxes, scores=None, known=None, seen_well=None, followed=None):
    count = len(boxes)
    verdict = glances.judge(
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.full(count, 0.9) if scores is None else np.array(scores),
        SIZE,
        least_score=0.5,
        followed=np.zeros(count, dtype=np.bool_) if followed is None else np.array(followed),
        known=np.zeros(count, dtype=np.bool_) if known is None else np.array(known),
        seen_well=np.zeros(count) if seen_well is None else np.array(seen_well),
    )
    return [glances.Verdict(one).name for one in verdict]


@pytest.mark.parametrize(
    ("box", "verdict"),
    [
        pytest.param([100, 100, 40, 100], "TAKEN", id="in the open"),
        pytest.param([100, 100, 13, 31.9], "SMALL", id="far away"),
        pytest.param([100, 100, 13, 32], "TAKEN", id="just near enough"),
        pytest.param([100, 380, 80, 100], "CUT", id="legs below the picture"),
        pytest.param([100, 0, 80, 100], "CUT", id="head above the picture"),
        pytest.param([100, 380, 40, 100], "TAKEN", id="at the lower edge, whole"),
        pytest.param([0, 100, 15, 100], "CUT", id="half outside on the left"),
        pytest.param([625, 100, 15, 100], "CUT", id="half outside on the right"),
        pytest.param([0, 100, 40, 100], "TAKEN", id="at the left edge, whole"),
        pytest.param([300, 100, 80, 100], "TAKEN", id="wide, but nowhere near a border"),
    ],
)
def test_one_box_is_judged_by_size_and_border(box, verdict):
    assert judged([box]) == [verdict]


def test_who_is_hidden_is_judged_by_who_stands_nearer():
    behind, before = [100, 100, 40, 100], [110, 115, 45, 110]
    assert judged([behind, before]) == ["COVERED", "TAKEN"]
    assert judged([before, behind]) == ["TAKEN", "COVERED"]
    doubtful = [0.9, 0.2]
    assert judged([behind, before], scores=doubtful) == ["TAKEN", "DOUBTFUL"], "a doubtful box may be nobody"
    assert judged([behind, before], scores=doubtful, followed=[False, True]) == ["COVERED", "DOUBTFUL"]
    side_by_side = [100, 100, 40, 100], [110, 102, 40, 100]
    assert judged(side_by_side) == ["COVERED", "COVERED"], "who is nearer cannot be told"


def test_two_people_hide_more_than_one():
    behind = [100, 100, 40, 100]
    left, right = [90, 120, 24, 100], [126, 120, 30, 100]
    assert judged([behind, left])[0] == "TAKEN"
    assert judged([behind, right])[0] == "TAKEN"
    assert judged([behind, left, right])[0] == "COVERED"


def exactly_covered(boxes, row, hides):
    """On a raster of quarter pixels."""
    left, top, wide, tall = boxes[row]
    x = left + (np.arange(int(4 * wide)) + 0.5) / 4
    y = top + (np.arange(int(4 * tall)) + 0.5) / 4
    hidden = np.zeros((len(y), len(x)), dtype=bool)
    for other, (a, b, c, d) in enumerate(boxes):
        if other != row and hides[other] and b + d >= top + tall - 0.05 * tall:
            hidden |= ((y > b) & (y < b + d))[:, None] & ((x > a) & (x < a + c))
    return hidden.mean()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 12))
def test_what_is_covered_is_the_union_of_who_stands_nearer(seed, count):
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([rng.uniform(0, 120, (count, 2)), rng.uniform(15, 50, count), rng.uniform(40, 120, count)])
    hides, every = rng.random(count) < 0.7, np.arange(count)
    share = glances.covered(boxes, every, hides)
    assert share == pytest.approx([exactly_covered(boxes, row, hides) for row in range(count)], abs=0.15)
    some = np.flatnonzero(rng.random(count) < 0.5)
    assert glances.covered(boxes, some, hides).tolist() == share[some].tolist()


def test_known_people_are_looked_at_again_only_when_they_show_more():
    box = [100, 100, 40, 150]
    assert judged([box], known=[True], seen_well=[116.0]) == ["KNOWN"]
    assert judged([box], known=[True], seen_well=[115.0]) == ["TAKEN"]
    assert judged([box], known=[False], seen_well=[1000.0]) == ["TAKEN"]
    assert judged([]) == []


def person(height=128):
    """A figure with edges in every direction."""
    picture = np.full((128, 64, 3), 90, dtype=np.uint8)
    cv2.circle(picture, (32, 16), 10, (200, 160, 130), -1)
    cv2.rectangle(picture, (18, 28), (46, 74), (180, 30, 40), -1)
    cv2.rectangle(picture, (22, 74), (42, 124), (20, 20, 70), -1)
    for y in range(32, 74, 8):
        cv2.line(picture, (18, y), (46, y), (230, 230, 230), 2)
    return cv2.resize(picture, (height // 2, height), interpolation=cv2.INTER_AREA)


def test_blur_is_told_whatever_the_size_the_light_and_the_direction():
    sharp = [person(height) for height in (32, 64, 128)] + [(person() * 0.2).astype(np.uint8)]
    smear = np.ones((1, 26), dtype=np.float32) / 26
    blurred = [
        cv2.GaussianBlur(person(), (0, 0), 6),
        cv2.filter2D(person(), -1, smear),
        cv2.filter2D(person(), -1, np.ones((40, 1), dtype=np.float32) / 40),
        cv2.GaussianBlur(cv2.resize(person(), (256, 512)), (0, 0), 24),
        np.full((100, 40, 3), 128, dtype=np.uint8),
        np.zeros((0, 5, 3), dtype=np.uint8),
    ]
    assert (sharpness(sharp) >= LEAST_SHARPNESS).all()
    assert (sharpness(blurred) < LEAST_SHARPNESS).all()
    assert sharpness([]).shape == (0,)


def frame(boxes, index=0):
    boxes_px, scores = tracks.quantise(np.array(boxes, dtype=float).reshape(-1, 4), np.full(len(boxes), 0.9))
    return tracks.FrameSeen(
        site="plaza", camera="north", frame=index, at=index * 100_000, session=1, size_px=SIZE, boxes_px=boxes_px,
        scores=scores, detector="test",
    )  # fmt: skip


def test_a_blurred_crop_gets_no_look_and_is_tried_again():
    boxes = [[100, 100, 64, 128], [300, 100, 64, 128], [500, 100, 10, 20]]
    picture = np.full((480, 640, 3), 90, dtype=np.uint8)
    picture[100:228, 100:164] = person()
    picture[100:228, 300:364] = cv2.GaussianBlur(person(), (0, 0), 6)
    state, total = tracks.initial(), Tally()
    for index in range(3):
        seen, tally = with_looks(frame(boxes, index), picture, state, Thresholds(), HistogramEmbedder())
        assert sorted(seen.looks) == ([0] if index == 0 else [])
        state = tracks.step(state, seen, Thresholds())[1]
        total += tally
    picture[100:228, 300:364] = person()
    seen, tally = with_looks(frame(boxes, 3), picture, state, Thresholds(), HistogramEmbedder())
    assert sorted(seen.looks) == [1]
    total += tally
    assert total == Tally(taken=2, known=3, small=4, blurred=3)
    assert total.saved == pytest.approx(10 / 12)
    assert str(total) == "2 of 12 boxes looked at, 83.3% saved (3 known, 4 small, 3 blurred)"
    assert Tally().saved is None
    assert str(Tally()) == "nobody to look at"


async def test_a_workers_metrics_tell_what_was_saved(aiohttp_client):
    async def broker():
        return {"status": "ok"}

    looked = {"plaza": Tally(taken=2, known=5, covered=1)}
    client = await aiohttp_client(
        status.create_status(
            role="detection", version="1", lag=dict, restarts={}, broker=broker, more=[LooksMetrics(looked)]
        )
    )
    looked["plaza"] += Tally(taken=1, known=1)
    families = {one.name: one for one in text_string_to_metric_families(await (await client.get("/metrics")).text())}
    boxes = {sample.labels["outcome"]: sample.value for sample in families["spoton_look_boxes"].samples}
    assert boxes == {"taken": 3, "known": 6, "small": 0, "covered": 1, "cut": 0, "blurred": 0}
    (saved,) = families["spoton_looks_saved_ratio"].samples
    assert (saved.labels, saved.value) == ({"site": "plaza"}, 0.7)
