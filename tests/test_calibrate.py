"""Calibration from points and from other programs' files, and how it gets into the site file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from typer.testing import CliRunner

from spoton import adjustment, site_file
from spoton.calibration import imports, page, points_file, rewrite
from spoton.calibration.draft import as_given, by_points, uncertainty
from spoton.calibration.fit import Intrinsics, fit
from spoton.calibration.grid import grid
from spoton.calibration.tsai import Tsai, to_pinhole
from spoton.cli import app
from spoton.errors import InputError, SpotOnError
from spoton.geometry import floor_view
from spoton.site import CameraSite, Homography, Pinhole, PointPairs

SHARED = Path(os.environ.get("SPOTON_SHARED", "../shared"))
SIZE_PX = (1280, 720)
DISTORTIONS = {
    "none": (0.0, 0.0, 0.0, 0.0, 0.0),
    "barrel": (-0.28, 0.07, 0.001, -0.0007, -0.005),
    "pincushion": (0.12, 0.03, -0.001, 0.002, 0.01),
    "rational": (0.2, -0.1, 0.0005, -0.0004, 0.01, 0.4, -0.05, 0.02),
}


def matrix(array):
    return tuple(tuple(map(float, row)) for row in array)


def random_camera(rng, dist):
    """A pinhole over the floor that looks down ahead, and 24 floor points in its picture with OpenCV's pixels."""
    while True:
        height, tilt, pan = rng.uniform(2.5, 9), rng.uniform(0.25, 0.8), rng.uniform(0, 2 * np.pi)
        forward = np.array([np.cos(pan) * np.cos(tilt), np.sin(pan) * np.cos(tilt), -np.sin(tilt)])
        right = np.cross(forward, [0, 0, 1.0]) / np.cos(tilt)
        R = cv2.Rodrigues(np.array([0, 0, rng.normal(0, 0.05)]))[0] @ np.stack(
            [right, np.cross(forward, right), forward]
        )
        place = np.array([*rng.uniform(-20, 20, 2), height])
        f = rng.uniform(700, 1500)
        K = np.array(
            [[f, 0, 640 + rng.normal(0, 15)], [0, f * rng.uniform(0.98, 1.02), 360 + rng.normal(0, 15)], [0, 0, 1.0]]
        )
        t = -R @ place
        ahead = place[:2] + forward[:2] / np.cos(tilt) * height / np.tan(tilt)
        floor = ahead + rng.uniform(-4, 4, (400, 2))
        world = np.column_stack([floor, np.zeros(len(floor))])
        straight = cv2.projectPoints(world, R, t, K, None)[0][:, 0]
        image = cv2.projectPoints(world, R, t, K, np.array(dist))[0][:, 0]
        there = ((world @ R.T + t)[:, 2] > 1) & (straight > 40).all(1) & (straight < np.array(SIZE_PX) - 40).all(1)
        if there.sum() >= 24:
            pose = Pinhole(matrix(K), matrix(R), tuple(t.tolist()), tuple(dist))
            return pose, image[there][:24], floor[there][:24]


@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_a_pose_from_opencvs_pixels_projects_as_opencv_does(dist):
    rng = np.random.default_rng(3)
    for _ in range(12):
        pose, image, floor = random_camera(rng, dist)
        found = fit(image, floor, SIZE_PX, Intrinsics(pose.K, pose.dist))
        np.testing.assert_allclose(np.array(found.calibration.R), np.array(pose.R), atol=1e-6)
        np.testing.assert_allclose(found.calibration.t, pose.t, atol=1e-6)
        np.testing.assert_allclose(found.view.to_floor(image).floor_m, floor, atol=1e-6)
        np.testing.assert_allclose(found.view.to_image(floor)[0], image, atol=1e-6)
        assert found.used.all()


def test_a_homography_agrees_with_opencvs_least_squares():
    rng = np.random.default_rng(4)
    for _ in range(10):
        _, image, floor = random_camera(rng, DISTORTIONS["none"])
        noisy = image + rng.normal(0, 0.7, image.shape)
        found = fit(noisy, floor, SIZE_PX)
        theirs, _ = cv2.findHomography(floor - floor[0], noisy, 0)
        ours = found.view.to_image(floor)[0]
        reference = cv2.perspectiveTransform((floor - floor[0])[:, None], theirs)[:, 0]
        # OpenCV stops its refinement early: ours may be better, never worse.
        assert np.sum((ours - noisy) ** 2) <= np.sum((reference - noisy) ** 2) * (1 + 1e-9)
        np.testing.assert_allclose(ours, reference, atol=0.05)


@pytest.mark.parametrize("with_lens", [True, False], ids=["pose", "homography"])
@pytest.mark.parametrize("wrong", [1, 4, 8], ids=lambda count: f"{count} of 24 wrong")
def test_wrong_points_are_left_out_and_the_rest_fits_as_if_they_were_not_there(with_lens, wrong):
    rng = np.random.default_rng(5)
    pose, image, floor = random_camera(rng, DISTORTIONS["barrel" if with_lens else "none"])
    lens = Intrinsics(pose.K, pose.dist) if with_lens else None
    spoilt = image.copy()
    spoilt[:wrong] += rng.uniform(25, 120, (wrong, 2)) * rng.choice([-1, 1], (wrong, 2))
    found = fit(spoilt, floor, SIZE_PX, lens)
    assert found.used.tolist() == [False] * wrong + [True] * (24 - wrong)
    clean = fit(image[wrong:], floor[wrong:], SIZE_PX, lens)
    np.testing.assert_allclose(found.view.floor_from_plane, clean.view.floor_from_plane, atol=1e-8)
    assert (found.residuals.image_px[:wrong] > found.tolerance_px).all()


@pytest.mark.parametrize(
    ("image", "floor", "said"),
    [
        pytest.param(np.zeros((3, 2)), np.zeros((3, 2)), "3 point pairs are too few", id="three"),
        pytest.param(np.zeros((5, 2)), np.zeros((4, 2)), "5 image points beside 4", id="unequal"),
        pytest.param(np.full((4, 2), np.nan), np.zeros((4, 2)), "not finite", id="nan"),
        pytest.param(np.arange(8.0).reshape(4, 2), np.random.default_rng(0).random((4, 2)), "one line", id="line"),
        pytest.param(
            np.random.default_rng(1).random((9, 2)) * 700, np.random.default_rng(0).random((9, 2)), "agree", id="noise"
        ),
    ],
)
def test_points_that_fix_nothing_are_an_error(image, floor, said):
    with pytest.raises(InputError, match=said):
        fit(image, floor, SIZE_PX)


def test_the_ellipse_of_a_pixel_holds_its_place_as_often_as_it_says():
    """Clicks with noise, fitted anew each time; a new click of a known place falls into its 95 % ellipse."""
    rng = np.random.default_rng(6)
    pose, image, floor = random_camera(rng, DISTORTIONS["barrel"])
    lens, sigma, inside, count = Intrinsics(pose.K, pose.dist), 2.0, 0, 0
    for _ in range(60):
        found = fit(image[:12] + rng.normal(0, sigma, (12, 2)), floor[:12], SIZE_PX, lens, tolerance_px=20)
        seen = image[12:] + rng.normal(0, sigma, (12, 2))
        places, cov, valid = adjustment.floor_covariance(
            found.view, found.calibration, SIZE_PX, seen, sigma, found.spread
        )
        assert valid.all()
        off = places - floor[12:]
        inside += int((np.einsum("ni,nij,nj->n", off, np.linalg.inv(cov), off) < -2 * np.log(0.05)).sum())
        count += len(off)
    assert 0.90 < inside / count < 0.985


def test_the_ellipse_has_the_axes_of_its_covariance():
    long, short, angle = adjustment.ellipse(np.array([[4.0, 0.0], [0.0, 1.0]]))
    assert (long, short) == pytest.approx((2 * 2.4477, 2.4477), abs=1e-3)
    assert np.sin(angle) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("lens", [True, False], ids=["pinhole", "homography"])
def test_small_changes_are_small_and_none_is_none(lens):
    pose, image, floor = random_camera(np.random.default_rng(7), DISTORTIONS["none"])
    calibration = pose if lens else fit(image, floor, SIZE_PX).calibration
    count = len(adjustment.prior_sigma(calibration))
    same = floor_view(adjustment.moved(calibration, np.zeros(count), SIZE_PX), SIZE_PX)
    np.testing.assert_allclose(same.to_floor(image).floor_m, floor, atol=1e-7)
    for k in range(count):
        step = np.zeros(count)
        step[k] = 1e-3
        there = floor_view(adjustment.moved(calibration, step, SIZE_PX), SIZE_PX).to_floor(image).floor_m
        slope = adjustment.floor_slope(calibration, SIZE_PX, image)
        np.testing.assert_allclose(there - floor, slope @ step, atol=5e-4)
        assert np.abs(there - floor).max() > 1e-5


def test_the_grid_lies_on_round_metres():
    pose, _, _ = random_camera(np.random.default_rng(8), DISTORTIONS["barrel"])
    view = floor_view(pose, SIZE_PX)
    drawn = grid(view, SIZE_PX)
    assert len(drawn.lines) > 6
    for at_m, is_x, pieces in drawn.lines:
        assert at_m / drawn.step_m == pytest.approx(round(at_m / drawn.step_m))
        for piece in pieces:
            inside = ((piece > 0) & (piece < SIZE_PX)).all(axis=1)
            there = view.to_floor(piece[inside]).floor_m
            np.testing.assert_allclose(there[:, 0 if is_x else 1], at_m, atol=1e-6)


# --- other programs' files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["yml", "xml", "json"])
def test_opencvs_own_files_come_back_as_they_were_written(tmp_path, suffix):
    pose, _, _ = random_camera(np.random.default_rng(9), DISTORTIONS["barrel"])
    path = tmp_path / f"camera.{suffix}"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 1280)
    storage.write("image_height", 720)
    storage.write("camera_matrix", np.array(pose.K))
    storage.write("distortion_coefficients", np.array(pose.dist).reshape(1, -1))
    storage.write("rvec", cv2.Rodrigues(np.array(pose.R))[0])
    storage.write("tvec", 1000 * np.array(pose.t).reshape(3, 1))
    storage.release()
    if suffix == "json":
        with pytest.raises(InputError, match="camera"):
            imports.read([path], "north", "mm")
        return
    found = imports.read([path], "north", "mm")
    assert found.size_px == SIZE_PX
    np.testing.assert_allclose(np.array(found.pose.K), np.array(pose.K))
    np.testing.assert_allclose(np.array(found.pose.R), np.array(pose.R), atol=1e-12)
    np.testing.assert_allclose(found.pose.t, pose.t, atol=1e-12)
    np.testing.assert_allclose(found.pose.dist, pose.dist)


EXTRINSIC = """<?xml version="1.0"?>
<opencv_storage>
<rvec>{}</rvec>
<tvec>{}</tvec>
</opencv_storage>
"""
INTRINSIC = """<?xml version="1.0"?>
<opencv_storage>
<camera_matrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>f</dt><data>{}</data></camera_matrix>
<distortion_coefficients type_id="opencv-matrix"><rows>5</rows><cols>1</cols><dt>f</dt><data>0. 0. 0. 0. 0.</data>
</distortion_coefficients></opencv_storage>
"""


def wildtrack(folder, pose, unit_m=0.01):
    intrinsic, extrinsic = folder / "intr.xml", folder / "extr.xml"
    intrinsic.write_text(INTRINSIC.format(" ".join(repr(value) for row in pose.K for value in row)))
    turn = cv2.Rodrigues(np.array(pose.R))[0].ravel()
    extrinsic.write_text(
        EXTRINSIC.format(*(" ".join(map(repr, each)) for each in (turn.tolist(), [x / unit_m for x in pose.t])))
    )
    return intrinsic, extrinsic


def test_wildtracks_two_files_in_centimetres(tmp_path):
    pose, image, floor = random_camera(np.random.default_rng(10), DISTORTIONS["none"])
    found = imports.read(wildtrack(tmp_path, pose), "C1")
    assert "cm" in found.note
    view = floor_view(found.pose, SIZE_PX)
    np.testing.assert_allclose(view.to_floor(image).floor_m, floor, atol=1e-3)  # K is single precision there
    with pytest.raises(InputError, match="without a camera matrix"):
        imports.read([tmp_path / "extr.xml"], "C1")


def test_multiviewx_files_as_they_are_published():
    folder = SHARED / "data/multiviewx_demo/calibrations"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set SPOTON_SHARED")
    for number in range(1, 7):
        found = imports.read(
            [folder / f"intrinsic/intr_Camera{number}.xml", folder / f"extrinsic/extr_Camera{number}.xml"], "C"
        )
        place = floor_view(found.pose, (1920, 1080)).position_m
        assert 1.0 < place[2] < 6.0, place


def tsai_forward(tsai, world_mm):
    """Willson's equations: world to pixel, the cubic for the distorted radius solved by Newton's method."""
    camera = world_mm @ turned(tsai.turn_rad).T + np.array(tsai.shift)
    straight = tsai.focal * camera[:, :2] / camera[:, 2:]
    ru = np.linalg.norm(straight, axis=1)
    rd = ru.copy()
    for _ in range(50):
        rd -= (rd + tsai.kappa1 * rd**3 - ru) / (1 + 3 * tsai.kappa1 * rd**2)
    bent = straight * (rd / ru)[:, None]
    return np.column_stack([bent[:, 0] * tsai.sx / tsai.dpx + tsai.cx, bent[:, 1] / tsai.dpy + tsai.cy])


def turned(angles):
    (a, b, c) = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


TSAI = Tsai(
    (768, 576), 0.00513, 0.00465, 5.55, 0.0051, 324.0, 282.0, 1.094, (1900.0, -2400.0, 34000.0), (1.85, 0.38, -0.38)
)
PETS = """<?xml version="1.0" encoding="UTF-8"?>
<Camera name="view 1">
  <Geometry width="768" height="576" ncx="795" nfx="752" dx="0.00485" dy="0.00465" dpx="0.00513" dpy="0.00465"/>
  <Intrinsic focal="5.55" kappa1="0.0051" cx="324.0" cy="282.0" sx="1.094"/>
  <Extrinsic tx="1900.0" ty="-2400.0" tz="34000.0" rx="1.85" ry="0.38" rz="-0.38"/>
</Camera>
"""


def test_tsais_model_in_opencvs(tmp_path):
    path = tmp_path / "View_001.xml"
    path.write_text(PETS)
    found = imports.read([path], "View_001")
    assert found.size_px == (768, 576)
    world = np.random.default_rng(11).uniform(-15_000, 15_000, (300, 2))
    theirs = tsai_forward(TSAI, np.column_stack([world, np.zeros(300)]))
    inside = (theirs > 0).all(axis=1) & (theirs < (768, 576)).all(axis=1)
    assert inside.sum() > 60
    ours, seen = floor_view(found.pose, (768, 576)).to_image(world[inside] / 1000)
    assert seen.all()
    _, lost = to_pinhole(TSAI, 0.001)
    assert np.abs(ours - theirs[inside]).max() <= lost + 0.01
    assert lost < 0.1


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.xml", PETS.replace('focal="5.55"', ""), "Intrinsic.focal"),
        ("a.xml", PETS.replace('focal="5.55"', 'focal="much"'), "Intrinsic.focal = 'much'"),
        ("a.xml", PETS.replace("0.0051", "9.0"), "more than OpenCV's model can"),
        ("a.xml", "<Camera", "is no XML"),
        ("a.xml", '<!DOCTYPE x [<!ENTITY a "b">]><x/>', "defines entities"),
        ("a.xml", EXTRINSIC.format("1 2", "1 2 3"), "rvec"),
        ("a.yml", "%YAML:1.0\n---\nx: 1\n", "neither a camera matrix nor a pose"),
        ("a.yml", "%YAML:1.0\n---\ncamera_matrix: [1, 2]\n", "camera_matrix"),
        ("a.txt", "hello", "no calibration that is known here"),
        ("a.json", '{"sensors": {"north": {"camera points": [[1, 2]], "map points": [[0, 0, 3.0]]}}}', "off the floor"),
        ("a.json", '{"sensors": {"north": {"camera points": [[1, 2]], "map points": []}}}', "beside 0 map points"),
        ("a.json", '{"sensors": {"a": {"camera points": []}, "b": {}}}', "no camera 'north'"),
        ("a.json", "{", "is no JSON"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SpotOnError, match=said) as caught:
        imports.read([path], "north")
    assert str(path) in str(caught.value) or "kappa1" in str(caught.value)


def test_scenescapes_point_pairs(tmp_path):
    path = SHARED / "data/scenescape_2cam_synth/config.json"
    if not path.is_file():
        pytest.skip(f"no {path}: set SPOTON_SHARED")
    found = imports.read([path], "Cam_x2_0")
    assert found.size_px == (800, 600)
    assert len(found.points.image_px) == 4
    draft = by_points(CameraSite("Cam_x2_0"), found.size_px, found.points, found.intrinsics)
    assert draft.residuals_after.floor_m.max() < 0.2


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,4\n5,6,7,8\n",
        "px_x,px_y,x_m,y_m\n1,2,3,4\n\n# a remark\n5, 6, 7, 8\n",
        "name,x_m,y_m,px_x,px_y\na,3,4,1,2\nb,7,8,5,6\n",
    ],
    ids=["bare", "header", "other order"],
)
def test_points_as_csv(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_text(text)
    assert points_file.read(path) == PointPairs(((1, 2), (5, 6)), ((3, 4), (7, 8)))


def test_points_as_toml_and_mistakes_in_them(tmp_path):
    path = tmp_path / "points.toml"
    path.write_text("points = [{ image_px = [1, 2], floor_m = [3, 4] }]")
    assert points_file.read(path) == PointPairs(((1, 2),), ((3, 4),))
    path.write_text("points = [{ image_px = [1], floor_m = [3, 4] }]")
    with pytest.raises(SpotOnError, match=r"points\[1\].image_px"):
        points_file.read(path)
    (tmp_path / "a.csv").write_text("1,2,3,4\n5,6,seven,8\n")
    with pytest.raises(InputError, match=r"a\.csv, line 2"):
        points_file.read(tmp_path / "a.csv")


# --- the site file ----------------------------------------------------------------------------------------------

SITE = """# The plaza
[site]
name = "plaza" # short

[[camera]]   # the first
name = "north"
source = "a#b[.mp4"
# measured in May
homography = [
  [0.01, 0, 0],  # row [1]
  [0, 0.01, 0], [0, 0, 1],
] # end
fps = 10

# the second
[[ camera ]]
name = "south"
source = "b.mp4"
size_px = [640, 480]
points = [
  { image_px = [100, 400], floor_m = [0, 0] }, # a
  { image_px = [600, 400], floor_m = [4, 0] },
  { image_px = [450, 150], floor_m = [4, 6] },
  { image_px = [200, 150], floor_m = [0, 6] },
]
check_points = [{ image_px = [320, 300], floor_m = [2, 2] }]

[[camera]]
name = "bare"
source = \'\'\'c.mp4\'\'\'

[thresholds] # none
gate_m = 1.5
"""
POSE = Pinhole(
    ((900.0, 0.0, 640.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, -0.6, -0.8), (0.0, 0.8, -0.6)), (0.0, 2.0, 4.0), (-0.2, 0.05, 0.0, 0.0, 0.0),
)  # fmt: skip


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("name", ["north", "south", "bare"])
def test_only_that_cameras_calibration_changes_in_the_site_file(name, newline):
    text = SITE.replace("\n", newline)
    camera = CameraSite(name, calibration=POSE, size_px=SIZE_PX)
    after = rewrite.with_calibrations(text, "plaza.toml", {name: camera})
    read = site_file.parse(after, "plaza.toml")
    assert read.camera(name).calibration == POSE
    assert read.camera(name).size_px == SIZE_PX
    before = site_file.parse(text, "plaza.toml")
    for other in before.cameras:
        if other.name != name:
            assert read.camera(other.name) == other
    for kept in ("# The plaza", "# short", "# the first", "# measured in May", "# the second", "[thresholds] # none"):
        assert kept in after
    lost = [line for line in text.splitlines() if line not in after.splitlines()]
    assert all(word not in line for line in lost for word in ("name", "source", "fps", "check_points", "gate_m"))
    assert (after.count("\r\n") == after.count("\n")) is (newline == "\r\n")


def test_a_site_that_cannot_be_changed_in_place_is_left_alone():
    inline = 'camera = [{ name = "north", source = "a.mp4" }]\n[site]\nname = "plaza"\n'
    with pytest.raises(InputError, match="put these lines there yourself: size_px"):
        rewrite.with_calibrations(inline, "a.toml", {"north": CameraSite("north", calibration=POSE, size_px=SIZE_PX)})


def test_the_file_is_replaced_at_once_and_only_if_nobody_else_changed_it(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    path.chmod(0o640)
    rewrite.write(path, SITE, SITE + "# more\n")
    assert path.read_text() == SITE + "# more\n"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(InputError, match="has changed meanwhile"):
        rewrite.write(path, SITE, "")
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def plaza(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    pose, image, floor = random_camera(np.random.default_rng(12), DISTORTIONS["none"])
    spoilt = image.copy()
    spoilt[2] += 70
    rows = [f"{u!r},{v!r},{x!r},{y!r}" for (u, v), (x, y) in zip(spoilt.tolist(), floor.tolist(), strict=True)]
    (tmp_path / "points.csv").write_text("px_x,px_y,x_m,y_m\n" + "\n".join(rows) + "\n")
    cv2.imwrite(str(tmp_path / "still.png"), np.zeros((720, 1280, 3), np.uint8))
    return tmp_path, pose, image, floor


def test_the_command_shows_before_it_writes(plaza):
    folder, _, image, floor = plaza
    asked = ["calibrate", "north", "--site", str(folder / "site.toml"), "--points", str(folder / "points.csv"),
             "--picture", str(folder / "still.png")]  # fmt: skip
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    assert "nothing written" in shown.output
    assert "left out" in shown.output
    assert "-homography = [" in shown.output
    assert (folder / "site.toml").read_text() == SITE
    told = json.loads(CliRunner().invoke(app, [*asked, "--json", "--write"]).output)
    assert told["used"] == 23
    assert [point["used"] for point in told["points"]].index(False) == 2
    assert told["after"]["rms_px"] < 1e-6 < told["before"]["rms_px"]
    assert all(point["ellipse"]["long_m"] > 0 for point in told["points"])
    north = site_file.parse((folder / "site.toml").read_text(), "site.toml").camera("north")
    found = floor_view(north.calibration, north.size_px).to_floor(image).floor_m
    np.testing.assert_allclose(found, floor, atol=1e-6)


def test_the_command_imports_a_pose_and_holds_it_against_points(plaza):
    folder, pose, _, _ = plaza
    intrinsic, extrinsic = wildtrack(folder, pose)
    told = CliRunner().invoke(
        app,
        ["calibrate", "south", "--site", str(folder / "site.toml"), "--import", str(intrinsic), "--import",
         str(extrinsic), "--points", str(folder / "points.csv"), "--out", str(folder / "new.toml"), "--json"],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    points = json.loads(told.output)["points"]
    assert [point["after_px"] > 1 for point in points] == [row == 2 for row in range(24)]
    south = site_file.parse((folder / "new.toml").read_text(), "new.toml").camera("south")
    np.testing.assert_allclose(south.calibration.t, pose.t, atol=1e-9)
    assert (folder / "site.toml").read_text() == SITE


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["west"], "has no camera 'west'"),
        (["north", "--points", "none.csv"], "none.csv cannot be read"),
        (["north", "--points", "points.csv", "--method", "pose"], "needs its lens"),
        (["north", "--points", "points.csv", "--method", "magic"], "'magic' is not known"),
        (["north", "--points", "points.csv", "--tolerance-px", "-1"], "tolerance_px is -1"),
        (["north", "--points", "points.csv", "--write", "--out", "o.toml"], "both --write and --out"),
        ([], "no camera was named"),
    ],
)
def test_mistakes_are_one_clear_line(plaza, monkeypatch, asked, said):
    folder, _, _, _ = plaza
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["calibrate", *asked, "--site", "site.toml", "--picture", "still.png"])
    assert isinstance(result.exception, SpotOnError), result.output
    assert said in str(result.exception)


def test_uncertainty_is_said_where_there_is_a_floor():
    pose, image, _ = random_camera(np.random.default_rng(13), DISTORTIONS["none"])
    draft = as_given(CameraSite("north"), SIZE_PX, pose)
    near, sky = uncertainty(draft, np.array([image[0], [640.0, -5000.0]]))
    assert near["short_m"] > 0
    assert sky is None


def test_points_are_kept_as_points_where_no_lens_is_known():
    _, image, floor = random_camera(np.random.default_rng(14), DISTORTIONS["none"])
    pairs = PointPairs(tuple(map(tuple, image.tolist())), tuple(map(tuple, floor.tolist())))
    draft = by_points(CameraSite("north"), SIZE_PX, pairs, None)
    assert draft.after.calibration == pairs
    assert isinstance(draft.fitted.calibration, Homography)


# --- the page ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def table(plaza):
    """A running page over the plaza's north camera, with the floor's true points: folder, url, pixels, metres."""
    folder, _, image, floor = plaza
    text = SITE.replace(
        'name = "plaza" # short', 'name = "plaza" # short\n\n[floor]\nsize_m = [60, 60]\norigin_m = [-30, -30]'
    )
    (folder / "site.toml").write_text(text)
    site = site_file.parse(text, str(folder / "site.toml"))
    picture = np.full((720, 1280, 3), 60, np.uint8)
    desk = page.desk(folder / "site.toml", text, site, site.camera("north"), picture, None)
    async with TestServer(page.create(desk)) as server:
        yield folder, server, image, floor


def listed(image, floor):
    return [
        {"image_px": a, "floor_m": b}
        for a, b in zip(np.asarray(image).tolist(), np.asarray(floor).tolist(), strict=True)
    ]


async def test_the_page_gets_every_figure_from_the_server(table):
    folder, server, image, floor = table
    async with TestClient(server) as client:
        session = await (await client.get("/session")).json()
        assert session["camera"] == "north"
        assert session["size_px"] == [1280, 720]
        nothing = await client.post("/preview", json={})
        assert nothing.status == 400
        told = await (await client.post("/fit", json={"points": listed(image, floor)})).json()
        assert told["after"]["rms_px"] < 1e-6
        assert len(told["drawn"]["lines"]) > 6
        place = await (await client.post("/place", json={"image_px": image[3].tolist()})).json()
        np.testing.assert_allclose(place["floor_m"], floor[3], atol=1e-6)
        assert place["ellipse"]["long_m"] >= place["ellipse"]["short_m"] > 0
        back = await (await client.post("/place", json={"floor_m": floor[3].tolist()})).json()
        np.testing.assert_allclose(back["image_px"], image[3], atol=1e-6)
        too_few = await client.post("/fit", json={"points": listed(image[:3], floor[:3])})
        assert too_few.status == 400
        assert "too few" in (await too_few.json())["error"]
    assert "homography = [" in (folder / "site.toml").read_text()


async def test_nothing_is_saved_that_was_not_shown(table):
    folder, server, image, floor = table
    before = (folder / "site.toml").read_text()
    async with TestClient(server) as client:
        await client.post("/fit", json={"points": listed(image, floor)})
        shown = await (await client.post("/preview", json={})).json()
        assert "+points = [" in shown["difference"]
        await client.post("/fit", json={"points": listed(image[:9], floor[:9])})
        stale = await client.post("/save", json={"draft": shown["draft"], "seen": shown["seen"]})
        assert stale.status == 400
        assert "changed since it was shown" in (await stale.json())["error"]
        assert (folder / "site.toml").read_text() == before
        shown = await (await client.post("/preview", json={})).json()
        saved = await client.post("/save", json={"draft": shown["draft"], "seen": shown["seen"]})
        assert saved.status == 200
    north = site_file.parse((folder / "site.toml").read_text(), "site.toml").camera("north")
    assert len(north.calibration.image_px) == 9
    assert north.size_px == SIZE_PX


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example:8322"}, {"Origin": "http://evil.example"}], ids=["other name", "other page"]
)
async def test_other_pages_may_not_ask(table, headers):
    _, server, _, _ = table
    async with TestClient(server) as client:
        assert (await client.post("/preview", json={}, headers=headers)).status == 403
        assert (await client.post("/fit", data="x", headers={"Content-Type": "text/plain"})).status == 400


async def test_pairs_are_clicked_in_a_browser_and_saved(table, chromium):
    folder, server, _, _ = table
    tab = await chromium.open(str(server.make_url("/")), width=1440, height=900)
    await tab.until("document.documentElement.dataset.ready === '1'")

    async def click(canvas, world, flip):
        # Where the whole picture, or the floor's 60 m and its margin, lies in the canvas.
        left, top, width, height = await tab.run(
            f"(() => {{ const r = document.getElementById('{canvas}').getBoundingClientRect();"
            " return [r.left, r.top, r.width, r.height]; })()"
        )
        box = (0, 0, 1280, 720) if not flip else (-34.8, -34.8, 34.8, 34.8)
        scale = min(width / (box[2] - box[0]), height / (box[3] - box[1]))
        x = left + width / 2 + scale * (world[0] - (box[0] + box[2]) / 2)
        y = top + height / 2 + (-scale if flip else scale) * (world[1] - (box[1] + box[3]) / 2)
        for kind in ("mousePressed", "mouseReleased"):
            await tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    # A made-up camera that looks straight down, 25 px to a metre.
    for world in ((-20, -12), (20, -10), (18, 12), (-19, 11), (2, 3), (-8, 6)):
        await click("picture", (640 + 25 * world[0], 360 - 25 * world[1]), False)
        await click("floor", world, True)
    await tab.until("document.querySelectorAll('#rows tr').length === 6 && !document.getElementById('review').disabled")
    said = await tab.run("document.getElementById('sum-after').textContent")
    assert "homography by 6 points" in said
    assert await tab.run("[...document.querySelectorAll('#rows tr')].every((row) => !row.classList.contains('out'))")
    assert await tab.run("Number(document.querySelector('#rows tr td:nth-child(7)').textContent) < 0.1")
    await tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=400, y=450)
    await tab.until("document.getElementById('picture-at').textContent.includes('95 % within')")
    before = (folder / "site.toml").read_text()
    await tab.run("document.getElementById('review').click()")
    await tab.until(
        "document.getElementById('dialog').open && document.querySelectorAll('#difference .plus').length > 4"
    )
    assert (folder / "site.toml").read_text() == before
    await tab.run("document.getElementById('save').click()")
    await tab.until("document.getElementById('hint').textContent.startsWith('saved in')")
    north = site_file.parse((folder / "site.toml").read_text(), "site.toml").camera("north")
    there = floor_view(north.calibration, north.size_px).to_floor(np.array([[640.0, 360.0]])).floor_m[0]
    np.testing.assert_allclose(there, [0, 0], atol=0.15)
    assert tab.problems == []


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
async def test_the_page_fits_its_window(table, chromium, width, height):
    _, server, _, _ = table
    tab = await chromium.open(str(server.make_url("/")), width=width, height=height)
    await tab.until("document.documentElement.dataset.ready === '1'")
    assert await tab.run("document.documentElement.scrollWidth") == width
    for canvas in ("picture", "floor"):
        assert await tab.run(f"document.getElementById('{canvas}').clientHeight") > 150
    assert tab.problems == []
