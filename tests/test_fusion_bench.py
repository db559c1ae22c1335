"""The benchmark of floor fusion, on a small recording made here and, where they are, on real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from spoton import cli, site_file
from spoton.errors import InputError
from spoton.geometry import floor_view
from spoton.offline import fusion_bench, fusion_data, plain_fusion, site_import
from spoton.offline.fusion_data import Row
from spoton.offline.mot_text import FloorRows, read_boxes
from spoton.site import Pinhole
from spoton.stance import camera_view, cameras, expected_boxes

FRAMES, FPS = 20, 4.0
SIZE_PX = (1280, 720)


def camera_entry(turn: float) -> dict[str, object]:
    aim = np.array([np.cos(turn), np.sin(turn), -0.6])
    eye = np.array([-8.0 * aim[0], -8.0 * aim[1], 5.0])
    forward = aim / np.linalg.norm(aim)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    R = np.stack((right, np.cross(forward, right), forward))
    K = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]
    return {"size": SIZE_PX, "K": K, "R": R.tolist(), "t": (-R @ eye).tolist()}


def places(frame: int) -> np.ndarray:
    """Three people (3, 2) who walk past each other."""
    step = 0.25 * (frame - FRAMES / 2)
    return np.array([[step, 0.0], [-step, 1.2], [0.5, 0.5 * step + 3.0]])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared folder with one sequence, ``walk``: three people before three cameras."""
    root = tmp_path_factory.mktemp("shared")
    folder = root / "seqs" / "walk"
    for name in ("det", "gt"):
        (folder / name).mkdir(parents=True)
    entries = {f"cam{k}": camera_entry(2.1 * k) for k in range(3)}
    (folder / "cameras.json").write_text(json.dumps(entries))
    (folder / "area.json").write_text(json.dumps([[-9, -9], [9, -9], [9, 9], [-9, 9]]))
    for camera in site_import.imported(folder, FPS).cameras:
        assert isinstance(camera.calibration, Pinhole)
        view = cameras([camera_view(floor_view(camera.calibration, SIZE_PX), SIZE_PX)])
        lines = []
        for frame in range(1, FRAMES + 1):
            boxes, shows = expected_boxes(places(frame), view, np.zeros(len(places(frame)), dtype=np.int64))
            lines += [f"{frame},-1,{','.join(map(str, box))},0.9" for box in boxes[shows].round(2).tolist()]
        for name in ("det", "gt"):
            (folder / name / f"{camera.name}.txt").write_text("\n".join(lines))
    world = [f"{n},{k + 1},{x},{y}" for n in range(1, FRAMES + 1) for k, (x, y) in enumerate(places(n).tolist())]
    (folder / "gt" / "world.txt").write_text("\n".join(world))
    return root


@pytest.mark.parametrize("trouble", ["", "dropped", "skewed", "lost"])
def test_people_who_are_plain_to_see_are_found_whatever_goes_wrong(shared: Path, trouble: str) -> None:
    row = Row("walk", "walk", FPS, true_boxes=True, trouble=trouble, reach=(90.0, 90.0))
    result = fusion_bench.run(shared, rows=[row], sizes=[])
    ours = result["rows"]["walk"]["ours"]
    assert ours["idf1"] > 90.0
    assert ours["mota"] > 85.0
    assert ours["error_median_m"] < 0.2
    assert ours["truth"] == 3 * FRAMES
    assert result["rows"]["walk"]["plain"]["idf1"] > 80.0


def test_the_same_recording_gives_the_same_figures(shared: Path) -> None:
    row = Row("walk", "walk", FPS, trouble="lost")
    first, second = (fusion_bench.run(shared, rows=[row], sizes=[])["rows"]["walk"] for _ in range(2))
    for result in (first, second):
        assert result["ours"].pop("ms_a_tick") > 0
    assert first == second


def test_trouble_does_what_it_says(shared: Path) -> None:
    whole = fusion_data.load(Row("walk", "walk", FPS), shared)
    dropped = fusion_data.load(Row("walk", "walk", FPS, trouble="dropped", camera=1), shared)
    skewed = fusion_data.detected(fusion_data.load(Row("walk", "walk", FPS, trouble="skewed", camera=0), shared))
    lost = fusion_data.load(Row("walk", "walk", FPS, trouble="lost"), shared)
    assert set(whole.boxes) - set(dropped.boxes) == {"cam1"}
    assert [camera.name for camera in dropped.site.cameras] == ["cam0", "cam2"]
    assert min(event.at for event in skewed if event.camera == "cam0") == 200_000
    assert min(event.at for event in skewed if event.camera == "cam1") == 0
    assert 0 < sum(map(len, lost.lost.values())) < 3 * FRAMES / 2


def test_what_is_not_there_is_named_and_the_made_up_floor_is_timed(tmp_path: Path) -> None:
    told: list[str] = []
    result = fusion_bench.run(tmp_path, sizes=[(2, 3)], ticks=8, progress=told.append)
    assert result["missing"] == ["cmc1", "cmc2", "pets09_s2l1", "wildtrack_train"]
    assert result["speed"][0]["cameras"] == 2
    assert result["speed"][0]["ms_median"] > 0
    assert told == ["2 cameras, 3 people"]
    console = Console(record=True, width=100)
    fusion_bench.render(result, console)
    assert "cmc1: not there" in console.export_text()


def test_fragments_are_counted_when_someone_is_found_again() -> None:
    truth = FloorRows(np.arange(1, 9), np.ones(8, dtype=np.int64), np.zeros((8, 2)))
    found = truth.only(np.array([False, True, True, False, True, False, False, True]))
    assert fusion_bench.fragmentations(truth, found) == 2
    assert fusion_bench.fragmentations(truth, truth) == 0
    assert fusion_bench.fragmentations(truth, truth.only(np.zeros(8, dtype=np.bool_))) == 0


def test_visits_end_where_someone_leaves_the_area() -> None:
    frames = np.array([1, 2, 3, 30, 31])
    rows = FloorRows(frames, np.full(5, 7), np.zeros((5, 2)))
    assert fusion_bench.visits(rows, gap=10).ids.tolist() == [1, 1, 1, 2, 2]


def test_the_plain_peer_needs_two_cameras_to_begin(shared: Path) -> None:
    row = Row("walk", "walk", FPS)
    recording = fusion_data.load(row, shared)
    views = {each.name: floor_view(each.calibration, each.size_px) for each in recording.site.cameras}  # type: ignore[arg-type]
    alone = {"cam0": recording.boxes["cam0"]}
    assert len(plain_fusion.follow(alone, views, FPS).ids) == 0
    assert len(set(plain_fusion.follow(recording.boxes, views, FPS).ids.tolist())) >= 3


def test_a_site_file_is_made_from_cameras_alone(shared: Path, tmp_path: Path) -> None:
    folder, out = shared / "seqs" / "walk", tmp_path / "walk.toml"
    done = CliRunner().invoke(cli.app, ["site", "import", str(folder), "--fps", "4", "--out", str(out)])
    assert done.exit_code == 0, done.output
    site = site_file.parse(out.read_text(), str(out))
    assert site.name == "walk"
    assert [(camera.name, camera.fps, camera.size_px) for camera in site.cameras] == [
        (f"cam{k}", 4.0, SIZE_PX) for k in range(3)
    ]
    assert len(read_boxes(folder / "det" / "cam0.txt").frames)


@pytest.mark.parametrize("fps", [0.0, -1.0, 2000.0])
def test_a_frame_rate_that_is_none_is_refused(shared: Path, tmp_path: Path, fps: float) -> None:
    with pytest.raises(InputError, match="frames per second are"):
        site_import.write(shared / "seqs" / "walk", fps, tmp_path / "x.toml")


def test_an_output_that_cannot_be_written_is_named(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no-folder/x\.toml cannot be written"):
        site_import.write(shared / "seqs" / "walk", 4.0, tmp_path / "no-folder" / "x.toml")
