"""``spoton track``: from recordings to text, the same bytes each time."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from spoton import events, people, tracks
from spoton.errors import InputError, SiteError
from spoton.offline import recordings, track
from spoton.offline.cameras_json import read_cameras
from spoton.offline.evaluate import evaluate
from spoton.offline.footage import from_video
from spoton.offline.mot_text import BoxRows, read_boxes, read_floor
from spoton.offline.scores import score_boxes
from spoton.offline.trajectories import CameraTracks
from spoton.site import CameraSite, Site, Thresholds
from spoton.vision.eyes import Eyes
from spoton.vision.histogram_embedder import HistogramEmbedder
from spoton.vision.sources import open_source

SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).resolve().parents[2] / "shared"))

# A camera 5 m above the floor, 12 m away from the origin, looking at it; x to the right, y away from the camera.
DOWN = np.arctan2(5.0, 12.0)
RIGHT, AHEAD = np.array([1.0, 0.0, 0.0]), np.array([0.0, np.cos(DOWN), -np.sin(DOWN)])


def _camera(turn_rad, size=(1280, 720)):
    """K, R, t of the camera turned about the origin."""
    spin = np.array(
        [[np.cos(turn_rad), -np.sin(turn_rad), 0], [np.sin(turn_rad), np.cos(turn_rad), 0], [0, 0, 1.0]]
    )
    R = np.stack([RIGHT, np.cross(AHEAD, RIGHT), AHEAD]) @ spin.T
    centre = spin @ np.array([0.0, -12.0, 5.0])
    K = np.array([[900.0, 0, size[0] / 2], [0, 900, size[1] / 2], [0, 0, 1]])
    return {"size": list(size), "K": K.tolist(), "dist": [0.0] * 5, "R": R.tolist(), "t": (-R @ centre).tolist()}


def _box(camera, x, y, height=1.75):
    def pixel(z):
        at = np.array(camera["K"]) @ (np.array(camera["R"]) @ [x, y, z] + camera["t"])
        return at[:2] / at[2]

    foot, head = pixel(0.0), pixel(height)
    tall = foot[1] - head[1]
    return foot[0] - 0.2 * tall, head[1], 0.4 * tall, tall


def _walk(person, second):
    return -3.0 + 0.8 * second + 0.2 * person, -2.0 + 2.0 * person + 0.2 * second


@pytest.fixture
def plaza(tmp_path):
    """Two calibrated cameras, three people, five seconds of detections and the truth of both, in files."""
    cameras = {"east": _camera(0.9), "south": _camera(0.0)}
    for folder in ("det", "gt"):
        (tmp_path / folder).mkdir()
    (tmp_path / "cameras.json").write_text(json.dumps(cameras))
    floor = []
    for name, camera in cameras.items():
        found, truth = [], []
        for frame in range(1, 51):
            for person in range(3):
                x, y, w, h = _box(camera, *_walk(person, frame / 10))
                truth.append(f"{frame},{person + 1},{x:.2f},{y:.2f},{w:.2f},{h:.2f},1,1,1")
                if (frame + 5 * person) % 13:
                    found.append(f"{frame},-1,{x:.2f},{y:.2f},{w:.2f},{h:.2f},0.9,-1,-1,-1")
        (tmp_path / "det" / f"{name}.txt").write_text("\n".join(found))
        (tmp_path / "gt" / f"{name}.txt").write_text("\n".join(truth))
    for frame, person in itertools.product(range(1, 51), range(3)):
        x, y = _walk(person, frame / 10)
        floor.append(f"{frame},{person + 1},{x:.3f},{y:.3f}")
    (tmp_path / "gt" / "world.txt").write_text("\n".join(floor))
    return tmp_path


def _track(out, inputs=(), **given):
    options = dict.fromkeys(("site_file", "detections_dir", "cameras_file", "weights", "fps")) | given
    track.run(list(inputs), out=out, weights_dir=out / "no weights", **options)


def test_detections_become_tracks_and_places_without_a_site_file(plaza, capsys):
    _track(plaza / "out", detections_dir=plaza / "det", fps=10.0)
    result = evaluate(plaza / "gt", plaza / "out")
    assert result["missing"] == []
    for name in ("east.txt", "south.txt"):
        assert result["files"][name]["idf1"] > 98
        assert result["files"][name]["id_switches"] == 0
    assert result["files"]["world.txt"]["idf1"] > 90
    assert result["files"]["world.txt"]["error_median_m"] < 0.2
    assert "3 tracks in 50 frames" in capsys.readouterr().out


def test_the_same_input_gives_the_same_bytes_and_its_events_the_same_people(plaza):
    for out in ("out", "again"):
        _track(plaza / out, detections_dir=plaza / "det", fps=10.0)
    names = sorted(path.name for path in (plaza / "out").iterdir())
    assert names == ["east.txt", "events.jsonl", "south.txt", "world.txt"]
    for name in names:
        assert (plaza / "out" / name).read_bytes() == (plaza / "again" / name).read_bytes()
    lines = (plaza / "out" / "events.jsonl").read_bytes().splitlines()
    recorded = [events.decode(line) for line in lines]
    site, _ = recordings.detection_files(plaza / "det", None, None, 10.0)
    floor, state, again = people.site_view(site), people.initial(site), []
    for event in recorded:
        if event.stream == "detections":
            decided, state = people.step(state, event, floor)
            again += decided
    again += people.flush(state, floor)[0]
    assert [e.id for e in again] == [e.id for e in recorded if e.stream != "detections"]
    ended = [e for e in recorded if isinstance(e, events.CameraOffline)]
    assert [(e.camera, e.ended) for e in ended] == [("east", True), ("south", True)]


def test_without_calibration_there_is_no_world(plaza):
    (plaza / "cameras.json").rename(plaza / "elsewhere.json")
    _track(plaza / "bare", detections_dir=plaza / "det", fps=10.0)
    assert not (plaza / "bare" / "world.txt").exists()
    _track(plaza / "told", detections_dir=plaza / "det", cameras_file=plaza / "elsewhere.json", fps=10.0)
    assert len(read_floor(plaza / "told" / "world.txt").frames) > 60


def _people_detected(frames):
    for index, (boxes, ids, candidates, started) in enumerate(frames):
        yield events.PeopleDetected(
            id=str(index), at=index * 100_000, site="s", seq=index + 1, camera="c", frame=index, size_px=(640, 480),
            boxes_px=boxes, scores=[0.9] * len(boxes), tracks=ids, tentative=candidates, started=started,
        )  # fmt: skip


def test_a_track_has_its_beginning_and_short_gaps_are_bridged():
    gathered = CameraTracks()
    frames = [
        ([(0.0, 0, 10, 20)], [0], [1], []),
        ([(1.0, 0, 10, 20), (50.0, 0, 10, 20)], [1, 0], [0, 2], [1]),
        ([], [], [], []),
        ([], [], [], []),
        ([(4.0, 0, 10, 26)], [1], [0], []),
        *([([], [], [], [])] * 5),
        ([(20.0, 0, 10, 20)], [1], [0], []),
    ]
    for event in _people_detected(frames):
        gathered.add(event)
    rows = gathered.rows()
    table = sorted(zip(rows.frames.tolist(), rows.ids.tolist(), rows.boxes_px[:, 0], rows.boxes_px[:, 3], strict=True))
    assert table == [(1, 1, 0, 20), (2, 1, 1, 20), (3, 1, 2, 22), (4, 1, 3, 24), (5, 1, 4, 26), (11, 1, 20, 20)]


@pytest.mark.parametrize(
    ("inputs", "given", "said"),
    [
        ([], {}, "nothing to track"),
        (["a.mp4", "b/a.mp4"], {}, "two inputs are camera 'a'"),
        (["a.mp4"], {"detections_dir": Path("det")}, "both videos and --detections"),
        ([], {"detections_dir": Path("nowhere")}, "nowhere holds no <camera>.txt"),
        ([], {"site_file": Path("nowhere.toml")}, "nowhere.toml cannot be read"),
    ],
    ids=["nothing", "one name twice", "both", "no detections", "no site file"],
)
def test_what_cannot_be_tracked_is_said(tmp_path, inputs, given, said):
    with pytest.raises(InputError, match=said):
        _track(tmp_path, inputs, **given)


def test_detections_need_their_frame_rate(plaza):
    with pytest.raises(InputError, match="--fps 10"):
        _track(plaza / "out", detections_dir=plaza / "det")
    with pytest.raises(InputError, match=r"are -1\.0"):
        _track(plaza / "out", detections_dir=plaza / "det", fps=-1.0)


def test_broken_cameras_are_named(tmp_path):
    (tmp_path / "cameras.json").write_text('{"a": {"size": [1, 2]}}')
    with pytest.raises(InputError, match=r"cameras\.json cannot be read.*`K`"):
        read_cameras(tmp_path / "cameras.json")


SITE = """
[site]
name = "yard"

[[camera]]
name = "gate"
source = "clip"
"""


def test_a_site_file_says_which_camera_an_input_is(tmp_path, monkeypatch):
    (tmp_path / "clip").mkdir()
    (tmp_path / "site.toml").write_text(SITE)
    for inputs in (["clip"], [str(tmp_path / "clip")], ["elsewhere/gate.mp4"], []):
        monkeypatch.chdir(tmp_path)
        site, found = recordings.videos(inputs, tmp_path / "site.toml", None)
        assert [camera.name for camera, _ in found] == ["gate"]
        assert site.name == "yard"
    with pytest.raises(InputError, match=r"b\.mp4 is no camera of .*site\.toml"):
        recordings.videos(["b.mp4"], tmp_path / "site.toml", None)
    (tmp_path / "site.toml").write_text("[site]\n")
    with pytest.raises(SiteError):
        recordings.videos([], tmp_path / "site.toml", None)


def _pictures(folder, count=40):
    """Somebody in a red coat walks through a textured yard."""
    folder.mkdir()
    ground = np.random.default_rng(0).integers(90, 130, (240, 320, 3)).astype(np.uint8)
    for n in range(count):
        picture = ground.copy()
        if n >= 15:
            left = 20 + 8 * (n - 15)
            cv2.rectangle(picture, (left, 90), (left + 24, 160), (40, 40, 200), -1)
            cv2.circle(picture, (left + 12, 80), 10, (150, 180, 220), -1)
        cv2.imwrite(str(folder / f"{n:04d}.png"), picture)


def test_pictures_are_tracked_with_the_built_in_detector(tmp_path, capsys):
    _pictures(tmp_path / "yard")
    _track(tmp_path / "out", [str(tmp_path / "yard")], weights="built-in", fps=10.0)
    rows = read_boxes(tmp_path / "out" / "yard.txt")
    assert set(rows.ids.tolist()) == {1}
    assert rows.frames.min() <= 22
    assert rows.frames.max() >= 38
    recorded = map(events.decode, (tmp_path / "out" / "events.jsonl").read_bytes().splitlines())
    looks = [look for e in recorded if isinstance(e, events.PeopleDetected) for look in e.embeddings]
    assert {look.model for look in looks} == {"histogram"}
    assert "yard.txt: 1 tracks in 40 frames" in capsys.readouterr().out


def test_real_video_with_picodet():
    """Six seconds of PETS09-S2L1 view 1; the truth is in pixels of the picture 1.6 times as large."""
    video = SHARED / "data" / "pets09_s2l1" / "view001_480x360_10fps_795f.mp4"
    weights = SHARED / "weights" / "detector" / "picodet_s_416_coco.onnx"
    if not video.is_file() or not weights.is_file():
        pytest.skip(f"{video} or {weights} is not there (SPOTON_SHARED)")
    camera = CameraSite("view")
    site = Site("pets", (camera,))
    eyes = Eyes(str(weights), site.detector, weights.parent, HistogramEmbedder())
    source = open_source(str(video))
    later = SimpleNamespace(frames=lambda: itertools.islice(source.frames(200), 60))
    footage = from_video(site, camera, later, eyes)
    gathered, state = CameraTracks(), tracks.initial()
    for seen, _ in footage.frames:
        decided, state = tracks.step(state, seen, Thresholds())
        for event in decided:
            if isinstance(event, events.PeopleDetected):
                gathered.add(event)
    found = gathered.rows()
    truth = read_boxes(SHARED / "seqs" / "pets09_s2l1" / "gt" / "View_001.txt")
    truth = truth.only((truth.frames > 200) & (truth.frames <= 260))
    scores = score_boxes(truth, replace(found, boxes_px=found.boxes_px / 0.625))
    assert scores.mota >= 80


@pytest.mark.parametrize(
    ("name", "fps", "least"),
    [("TUD-Stadtmitte", 25.0, {"mota": 82, "idf1": 85}), ("MOT17-11", 30.0, {"mota": 83, "idf1": 80})],
)
def test_real_detections_are_followed_as_well_as_bytetrack_does(tmp_path, name, fps, least):
    folder = SHARED / "seqs" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (SPOTON_SHARED)")
    _track(tmp_path, detections_dir=folder / "det", fps=fps)
    scores = evaluate(folder / "gt", tmp_path)["files"][f"{name}.txt"]
    assert {key: scores[key] >= value for key, value in least.items()} == dict.fromkeys(least, True), scores


def test_box_rows_of_nobody_are_empty():
    rows = CameraTracks().rows()
    assert isinstance(rows, BoxRows)
    assert len(rows.frames) == 0
