"""Scores equal TrackEval's; text files are read strictly."""

import io
import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import motrics
import numpy as np
import pytest
from rich.console import Console

from spoton import geometry
from spoton.errors import InputError
from spoton.offline.clear import clear
from spoton.offline.evaluate import evaluate, inside, render
from spoton.offline.mot_text import BoxRows, FloorRows, read_boxes, read_floor, write_boxes, write_floor
from spoton.offline.scores import closeness, floor_errors_m, score_boxes, score_floor

FRAMES, PEOPLE = 60, 5


def _truth_boxes():
    """Five people who cross: positions by formula, so that no random generator is part of the expectation."""
    for frame in range(1, FRAMES + 1):
        for person in range(1, PEOPLE + 1):
            if (frame + 7 * person) % 23:
                x = 100 + 60 * person + 80 * math.sin(frame / 9 + person)
                yield frame, person, (round(x, 2), round(200 + 12 * math.cos(frame / 5 + person), 2), 40.0, 100.0)


def _found_boxes():
    """The same with an offset that grows and shrinks, some missed, some invented, and ids that change hands."""
    for frame, person, (x, y, w, h) in _truth_boxes():
        if (3 * frame + 5 * person) % 11 == 0:
            continue
        track = person if frame <= 35 else (person % PEOPLE) + 1
        if person == 2 and 10 <= frame < 20:
            track = 40
        off = 12 * math.sin(frame * person / 7)
        yield frame, track, (round(x + off, 2), round(y + off / 2, 2), w, h)
    for frame in range(4, FRAMES, 9):
        yield frame, 77, (900.0, 50.0, 40.0, 100.0)


def _rows(boxes):
    frames, ids, places = zip(*boxes, strict=True)
    return BoxRows(np.array(frames), np.array(ids), np.array(places, dtype=float), np.ones(len(frames)))


def _floor(rows):
    return FloorRows(rows.frames, rows.ids, rows.boxes_px[:, :2] / 20)


# What TrackEval 1.3.0 says of these two, HOTA averaged over its thresholds, the floor with 1 - distance / 2.
TRACKEVAL_BOXES = {
    "hota": 36.44491732412634, "idf1": 51.891891891891895, "mota": 54.00696864111498, "id_switches": 19,
    "det_a": 50.59843925421777, "ass_a": 26.341573384147992, "false_positives": 47, "misses": 66,
}  # fmt: skip
TRACKEVAL_FLOOR = {
    "hota": 45.34795155434354, "idf1": 61.98198198198198, "mota": 84.3205574912892, "id_switches": 8,
    "det_a": 63.21040958826263, "ass_a": 32.58958973584848, "false_positives": 9, "misses": 28,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TRACKEVAL_BOXES))
def test_boxes_score_as_trackeval_scores_them(name):
    scores = asdict(score_boxes(_rows(_truth_boxes()), _rows(_found_boxes())))
    assert scores[name] == pytest.approx(TRACKEVAL_BOXES[name], abs=1e-9)


@pytest.mark.parametrize("name", sorted(TRACKEVAL_FLOOR))
def test_the_floor_scores_as_trackeval_scores_it(name):
    scores = asdict(score_floor(_floor(_rows(_truth_boxes())), _floor(_rows(_found_boxes()))))
    assert scores[name] == pytest.approx(TRACKEVAL_FLOOR[name], abs=1e-9)


def _by_frame(rows):
    frames = range(1, FRAMES + 1)
    return [rows.ids[rows.frames == f].tolist() for f in frames], [rows.boxes_px[rows.frames == f] for f in frames]


def test_pairing_by_similarity_equals_motrics_on_boxes():
    """Our own matrices of overlap, given to motrics, score as motrics does on the boxes themselves."""
    truth, found = _rows(_truth_boxes()), _rows(_found_boxes())
    (gt_ids, gt_boxes), (ids, boxes) = _by_frame(truth), _by_frame(found)
    straight = motrics._motrics.evaluate(
        gt_ids, [b.tolist() for b in gt_boxes], ids, [b.tolist() for b in boxes], 0.5, "xywh"
    )
    scores = score_boxes(truth, found)
    assert scores.hota == pytest.approx(100 * straight.hota.hota, abs=1e-9)
    assert scores.idf1 == pytest.approx(100 * straight.identity.idf1, abs=1e-9)


def test_places_on_the_floor_are_as_alike_as_boxes_that_overlap_so():
    """From 0.1 m to 1.5 m apart: boxes shifted until their overlap should be the same."""
    apart_m = np.array([0.1, 0.6, 0.99, 1.01, 1.5])
    points = np.stack([apart_m, np.zeros(5)], axis=1)
    shift = 100 * (1 - (1 - apart_m / 2)) / (1 + (1 - apart_m / 2))
    boxes = np.array([[x, 0.0, 100.0, 100.0] for x in shift])
    origin_m, origin_px = np.zeros((1, 2)), np.array([[0.0, 0.0, 100.0, 100.0]])
    np.testing.assert_allclose(closeness(origin_m, points, 1.0), geometry.iou(origin_px, boxes), atol=1e-12)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        ([[1], [1], [1]], [[5], [5], [5]], (3, 0, 0, 0)),
        ([[1], [1], [1]], [[5], [], [6]], (2, 0, 1, 1)),
        ([[1], [], [1]], [[5], [7], [6]], (2, 1, 0, 1)),
        ([[], []], [[5], [5]], (0, 2, 0, 0)),
        ([[1], [1]], [[], []], (0, 0, 2, 0)),
        ([], [], (0, 0, 0, 0)),
    ],
    ids=["perfect", "switch over a miss", "switch over an absence", "no truth", "no output", "no frames"],
)
def test_clear_counts(truth, found, expected):
    similar = [np.ones((len(t), len(f))) for t, f in zip(truth, found, strict=True)]
    counts = clear(truth, found, similar)
    assert (counts.matches, counts.false_positives, counts.misses, counts.id_switches) == expected


def test_a_pair_of_the_frame_before_stays_though_another_is_closer():
    counts = clear([[1], [1]], [[5], [5, 6]], [np.array([[0.9]]), np.array([[0.6, 0.95]])])
    assert (counts.id_switches, counts.false_positives) == (0, 1)


def test_the_gate_is_one_metre_and_belongs_to_it():
    truth = FloorRows(np.array([1, 2]), np.array([1, 1]), np.array([[0.0, 0.0], [0.0, 0.0]]))
    found = FloorRows(np.array([1, 2]), np.array([3, 3]), np.array([[1.0, 0.0], [1.001, 0.0]]))
    scores = score_floor(truth, found)
    assert (scores.misses, scores.false_positives) == (1, 1)
    assert floor_errors_m(truth, found).tolist() == [1.0]


def _folders(tmp_path, truth, found):
    for name, files in (("gt", truth), ("out", found)):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    return tmp_path / "gt", tmp_path / "out"


def test_files_are_paired_by_name_and_what_is_missing_is_said(tmp_path):
    lines = "1,1,10,10,20,40,1,1,1\n2,1,12,10,20,40,1,1,1\n"
    gt, out = _folders(
        tmp_path,
        {"a.txt": lines, "b.txt": lines, "world.txt": "1,1,0,0\n2,1,0.5,0\n"},
        {"a.txt": lines, "c.txt": lines, "world.txt": "1,9,0.25,0\n2,9,0.5,0\n"},
    )
    result = evaluate(gt, out)
    assert list(result["files"]) == ["a.txt", "world.txt"]
    assert result["missing"] == ["b.txt"]
    assert result["files"]["a.txt"]["mota"] == result["mean"]["mota"] == 100.0
    assert result["files"]["world.txt"]["error_median_m"] == 0.125
    assert {"hota", "idf1", "mota", "id_switches"} <= set(result["files"]["world.txt"])
    json.dumps(result)
    text = io.StringIO()
    render(result, Console(file=text, width=80))
    assert "a.txt" in text.getvalue()
    assert "no tracks for b.txt" in text.getvalue()


def test_truth_with_a_score_of_zero_is_not_counted(tmp_path):
    gt, out = _folders(
        tmp_path, {"a.txt": "1,1,10,10,20,40,1\n1,2,90,10,20,40,0\n"}, {"a.txt": "1,4,10,10,20,40,0.9,-1,-1,-1\n"}
    )
    assert evaluate(gt, out)["files"]["a.txt"]["mota"] == 100.0


def test_the_area_drops_truth_and_output_outside(tmp_path):
    gt, out = _folders(
        tmp_path, {"world.txt": "1,1,0,0\n1,2,5,5\n"}, {"world.txt": "1,7,0,0\n1,8,-5,5\n"}
    )
    area = tmp_path / "area.json"
    area.write_text("[[-1,-1],[1,-1],[1,1],[-1,1]]")
    assert evaluate(gt, out)["files"]["world.txt"]["mota"] == 0.0
    assert evaluate(gt, out, area)["files"]["world.txt"]["mota"] == 100.0
    area.write_text("[[0,0],[1,1]]")
    with pytest.raises(InputError, match="is no polygon"):
        evaluate(gt, out, area)
    area.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        evaluate(gt, out, area)


def test_a_polygon_may_be_concave():
    polygon = np.array([[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]], dtype=float)
    points = np.array([[1, 1], [3, 1], [2, 3], [2, 0.5], [5, 1], [-1, 0.5]])
    assert inside(polygon, points).tolist() == [True, True, False, True, False, False]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2,3,4,5", "line 2: '1,2,3,4,5' is not frame,id,x,y,w,h"),
        ("1,2,3,x,5,6", "line 2"),
        ("0,2,3,4,5,6", "line 2"),
        ("1.5,2,3,4,5,6", "line 2"),
        ("1,2,nan,4,5,6", "line 2"),
        ("1,2,3,4,-5,6", "frame 1, id 2: width or height is negative"),
        ("1,1,3,4,5,6", "frame 1 has id 1 twice"),
    ],
    ids=["short", "no number", "frame 0", "half a frame", "nan", "negative width", "id twice"],
)
def test_a_bad_line_is_named(tmp_path, line, said):
    path = tmp_path / "a.txt"
    path.write_text(f"1,1,1,1,5,5\n{line}\n")
    with pytest.raises(InputError) as error:
        read_boxes(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_folders_without_a_common_file_are_refused(tmp_path):
    gt, out = _folders(tmp_path, {"a.txt": ""}, {"b.txt": ""})
    with pytest.raises(InputError, match="no file named like one of"):
        evaluate(gt, out)
    with pytest.raises(InputError, match="is no folder"):
        evaluate(tmp_path / "nowhere", out)
    with pytest.raises(InputError, match="cannot be read"):
        read_floor(tmp_path / "nowhere.txt")


def test_written_rows_are_read_again(tmp_path):
    boxes = _rows(_found_boxes())
    write_boxes(tmp_path / "a.txt", boxes)
    again = read_boxes(tmp_path / "a.txt")
    assert score_boxes(again, boxes).mota == 100.0
    np.testing.assert_allclose(np.sort(again.boxes_px, axis=0), np.sort(boxes.boxes_px, axis=0), atol=0.006)
    write_floor(tmp_path / "world.txt", _floor(boxes))
    assert len(read_floor(tmp_path / "world.txt").frames) == len(boxes.frames)
    assert (tmp_path / "a.txt").read_text().splitlines()[0].endswith(",-1,-1,-1")
    assert (tmp_path / "world.txt").read_text().splitlines()[0].count(",") == 3


def test_truth_scores_perfectly_against_itself():
    shared = Path(os.environ.get("SPOTON_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "seqs"
    folder = shared / "TUD-Stadtmitte" / "gt"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (SPOTON_SHARED)")
    scores = evaluate(folder, folder)["files"]["TUD-Stadtmitte.txt"]
    assert (scores["hota"], scores["idf1"], scores["mota"], scores["id_switches"]) == (100.0, 100.0, 100.0, 0)
