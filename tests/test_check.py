import io

import cv2
import numpy as np
import pytest
from rich.console import Console

from spoton.errors import InputError, SiteError
from spoton.offline.check import check, render

SIZE_PX = (1280, 720)
K = np.array([[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]])
DIST = (-0.2, 0.05, 0.0, 0.0, 0.0)


def tilted(degrees):
    """R, t of a camera 5 m above the floor at (0, -8) that looks along y and so many degrees down."""
    tilt = np.radians(degrees)
    R = np.array([[1.0, 0.0, 0.0], [0.0, -np.sin(tilt), -np.cos(tilt)], [0.0, np.cos(tilt), -np.sin(tilt)]])
    return R, -R @ np.array([0.0, -8.0, 5.0])


R, T = tilted(15.0)
FLOOR_M = np.array([[-3.0, 0.0], [3.0, 0.0], [4.0, 6.0], [-4.0, 6.0], [0.0, 3.0], [2.0, 9.0], [-2.0, 9.0], [0.5, -1.0]])


def project(floor_m, dist=None):
    world = np.column_stack([floor_m, np.zeros(len(floor_m))])
    return cv2.projectPoints(world, R, T, K, None if dist is None else np.array(dist))[0][:, 0]


def listed(image_px, floor_m, key="points"):
    pairs = [
        f"{{ image_px = {list(map(float, image))}, floor_m = {list(map(float, floor))} }}"
        for image, floor in zip(image_px, floor_m, strict=True)
    ]
    return f"{key} = [{', '.join(pairs)}]\n"


def matrix(rows):
    return str(np.asarray(rows).tolist())


POSE = f"K = {matrix(K)}\nR = {matrix(R)}\nt = {matrix(T)}\ndist = {list(DIST)}\n"
SIZED = f"size_px = {list(SIZE_PX)}\n"


@pytest.fixture
def written(tmp_path):
    """Writes a site of one camera, whose source is a folder with one picture, and gives its path."""

    def write(camera="", rest="", picture_px=SIZE_PX, source="pictures"):
        pictures = tmp_path / "pictures"
        pictures.mkdir(exist_ok=True)
        cv2.imwrite(str(pictures / "1.png"), np.zeros((picture_px[1], picture_px[0], 3), dtype=np.uint8))
        path = tmp_path / "site.toml"
        named = f'source = "{source}"\n' if source else ""
        path.write_text(f'[site]\nname = "plaza"\n[[camera]]\nname = "north"\n{named}{camera}\n{rest}')
        return path

    return write


def shown(report):
    console = Console(record=True, width=140, file=io.StringIO())
    render(report, console)
    return console.export_text()


def test_exact_points_pass_with_an_error_of_nothing(written):
    report = check(written(SIZED + listed(project(FLOOR_M), FLOOR_M)))
    (camera,) = report.cameras
    assert report.accepted
    assert report.warnings == ()
    assert camera.calibration == "8 points"
    assert camera.reprojection.points == 8
    assert camera.reprojection.worst_m < 1e-6
    assert camera.reprojection.worst_px < 1e-5
    assert 0.5 < camera.sees_floor < 1.0
    np.testing.assert_allclose(camera.position_m, [0.0, -8.0, 5.0], atol=1e-3)
    assert "fit to run" in shown(report)


@pytest.mark.parametrize(
    ("off_m", "accepted", "warned"),
    [(0.2, True, None), (0.9, True, "above warn_reprojection_m = 0.5"), (3.0, False, "above max_reprojection_m = 2")],
)
def test_check_points_hold_a_calibration_against_the_bounds(written, off_m, accepted, warned):
    moved = np.add(FLOOR_M, [off_m, 0.0])
    report = check(written(SIZED + POSE + listed(project(FLOOR_M, DIST), moved, "check_points")))
    (camera,) = report.cameras
    assert camera.reprojection.rms_m == pytest.approx(off_m, rel=1e-6)
    shifted = np.linalg.norm(project(moved, DIST) - project(FLOOR_M, DIST), axis=1)
    assert camera.reprojection.worst_px == pytest.approx(shifted.max(), rel=1e-6)
    assert report.accepted is accepted
    said = report.warnings + report.refusals
    assert len(said) == (warned is not None)
    assert warned is None or warned in said[0]
    assert f"{off_m:.3f}" in shown(report)


def test_a_bad_calibration_is_let_through_when_told_to(written):
    path = written(SIZED + POSE + listed(project(FLOOR_M, DIST), np.add(FLOOR_M, [3.0, 0.0]), "check_points"))
    refused, told = check(path), check(path, accept_bad=True)
    assert not refused.accepted
    assert "refused: " in shown(refused)
    assert "fit to run" not in shown(refused)
    assert told.accepted
    assert told.warnings == refused.refusals


def test_the_bounds_are_the_sites(written):
    camera = SIZED + POSE + listed(project(FLOOR_M, DIST), np.add(FLOOR_M, [0.9, 0.0]), "check_points")
    strict = check(written(camera, "[thresholds]\nwarn_reprojection_m = 0.1\nmax_reprojection_m = 0.8\n"))
    assert not strict.accepted
    lenient = check(written(camera, "[thresholds]\nwarn_reprojection_m = 1\n"))
    assert lenient.warnings == lenient.refusals == ()


def test_one_mistyped_point_is_named(written):
    mistyped = FLOOR_M.copy()
    mistyped[5] += [0.0, 0.8]
    report = check(written(SIZED + POSE + listed(project(FLOOR_M, DIST), mistyped, "check_points")))
    assert report.accepted
    (warning,) = report.warnings
    assert 'camera "north".check_points[6] is 0.80 m off' in warning


def test_nothing_to_check_by_is_no_figure(written):
    report = check(written(SIZED + POSE))
    assert report.cameras[0].reprojection is None
    assert "no check points" in shown(report)
    assert report.accepted


def test_four_pairs_prove_nothing(written):
    (warning,) = check(written(SIZED + listed(project(FLOOR_M[:4]), FLOOR_M[:4]))).warnings
    assert "always fit exactly" in warning


def test_a_point_in_the_sky_is_an_error_beyond_all_bounds(written):
    path = written(SIZED + POSE + listed([[640.0, -300.0]], [[0.0, 3.0]], "check_points"))
    report = check(path)
    assert not report.accepted
    assert report.cameras[0].reprojection.rms_m == np.inf
    assert check(path, accept_bad=True).accepted
    assert "inf" in shown(report)
    assert "check_points[1] lies above the horizon" in report.refusals[0]


@pytest.mark.parametrize(
    ("camera", "picture_px", "doubt"),
    [
        pytest.param(SIZED + POSE, (640, 360), None, id="smaller pictures"),
        pytest.param(
            SIZED + POSE, (640, 480), "calibrated at 1280x720, its pictures are 640x480", id="other proportions"
        ),
        pytest.param(POSE, (640, 360), "is size_px what it was calibrated at?", id="calibrated at an unsaid size"),
        pytest.param(POSE, SIZE_PX, None, id="size as the pictures"),
        pytest.param(
            listed(project(FLOOR_M), FLOOR_M), (640, 360), "lies outside the picture, 640x360", id="points outside"
        ),
        pytest.param(
            "size_px = [640, 360]\n" + POSE,
            (640, 360),
            "principal point (640, 360) lies far from the middle of 640x360",
            id="wrong size",
        ),
        pytest.param(
            SIZED + POSE.replace(matrix(T), matrix(T * 100)), SIZE_PX, "stands 500 m above the floor", id="centimetres"
        ),
    ],
)
def test_doubtful_units_and_sizes_are_warned_about(written, camera, picture_px, doubt):
    report = check(written(camera, picture_px=picture_px))
    assert report.accepted
    assert len(report.warnings) == (doubt is not None)
    assert doubt is None or doubt in report.warnings[0]


def test_a_camera_that_sees_no_floor_is_refused(written):
    skyward = tilted(-40.0)
    upwards = POSE.replace(matrix(R), matrix(skyward[0])).replace(matrix(T), matrix(skyward[1]))
    report = check(written(SIZED + upwards))
    assert not report.accepted
    assert "sees no floor" in report.refusals[0]


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        pytest.param("missing.mp4", "no such file or folder", id="missing"),
        pytest.param("empty", "no pictures in it", id="empty folder"),
        pytest.param("text.mp4", "text.mp4", id="no video"),
        pytest.param("", "has no source", id="none"),
        pytest.param("gopher://host/a", "unknown scheme 'gopher'", id="unknown scheme"),
        pytest.param("rtsp://user:secret@127.0.0.1:9/a", None, id="live cameras are not contacted"),
        pytest.param("/dev/video7", None, id="nor are USB cameras"),
        pytest.param("sim://plaza/1", None, id="nor simulated ones"),
    ],
)
def test_sources_on_this_machine_must_be_there(written, tmp_path, source, refused):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    report = check(written(SIZED + POSE, source=source))
    assert report.accepted is (refused is None)
    assert refused is None or refused in report.refusals[0]
    assert "secret" not in shown(report) + "".join(report.refusals)


@pytest.mark.parametrize(
    ("floor", "warned", "refused"),
    [
        pytest.param('plan = "plan.png"\nmetres_per_pixel = 0.05', None, None, id="scale alone"),
        pytest.param('plan = "plan.png"\nsize_m = [20, 10]', None, None, id="size alone"),
        pytest.param('plan = "plan.png"\nmetres_per_pixel = 0.05\nsize_m = [20, 10]', None, None, id="both agree"),
        pytest.param('plan = "plan.png"\nmetres_per_pixel = 0.1\nsize_m = [20, 10]', "is 40 x 20 m", None, id="differ"),
        pytest.param('plan = "none.png"\nsize_m = [20, 10]', None, "none.png is no picture", id="missing"),
        pytest.param('plan = "site.toml"\nsize_m = [20, 10]', None, "is no picture", id="no picture"),
        pytest.param('plan = "void.png"\nsize_m = [20, 10]', None, "is no picture", id="empty"),
        pytest.param("size_m = [2, 10]", 'zone "door" lies outside', None, id="zone off the floor"),
        pytest.param("size_m = [2, 10]\norigin_m = [4, 0]", None, None, id="zone on a moved floor"),
    ],
)
def test_the_floor_plan_is_read_and_compared(written, tmp_path, floor, warned, refused):
    cv2.imwrite(str(tmp_path / "plan.png"), np.zeros((200, 400, 3), dtype=np.uint8))
    (tmp_path / "void.png").touch()
    zone = '[[zone]]\nname = "door"\npolygon_m = [[4, 0], [6, 0], [6, 2]]\n'
    report = check(written(SIZED + POSE, f"[floor]\n{floor}\n{zone}"))
    assert len(report.warnings) == (warned is not None)
    assert len(report.refusals) == (refused is not None)
    assert warned is None or warned in report.warnings[0]
    assert refused is None or refused in report.refusals[0]


def test_a_site_without_any_calibration_is_warned_about(written):
    report = check(written())
    assert report.accepted
    assert "no camera is calibrated" in report.warnings[0]


def test_mistakes_in_the_file_come_as_errors(written, tmp_path):
    with pytest.raises(SiteError, match=r'camera "north"\.fps'):
        check(written("fps = 0"))
    with pytest.raises(InputError, match="cannot be read"):
        check(tmp_path / "none.toml")
