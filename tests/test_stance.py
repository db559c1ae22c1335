"""Boxes to places and heights, held against people put before random cameras."""

from __future__ import annotations

import numpy as np
import pytest

from spoton.geometry import FloorView, floor_view
from spoton.site import Homography, Pinhole
from spoton.stance import HEAD_M, CameraView, camera_view, cameras
from spoton.stance import expected_boxes as expected_boxes_of
from spoton.stance import stand as stand_of

SIZE_PX = (1280, 720)


def looking_down(turn: float = 0.3, high_m: float = 5.0, dist: tuple[float, ...] = (0.0,) * 5) -> CameraView:
    aim = np.array([np.cos(turn), np.sin(turn), -0.5])
    forward = aim / np.linalg.norm(aim)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    R = np.stack((right, np.cross(forward, right), forward))
    t = -R @ np.array([0.0, 0.0, high_m])
    K = ((900.0, 0.0, 640.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0))
    rows = tuple(tuple(float(each) for each in row) for row in R)
    return camera_view(floor_view(Pinhole(K, rows, tuple(t.tolist()), dist), SIZE_PX), SIZE_PX)


def stand(boxes_px: np.ndarray, camera: CameraView) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return stand_of(boxes_px, cameras([camera]), np.zeros(len(boxes_px), dtype=np.int64))


def expected_boxes(floor_m: np.ndarray, camera: CameraView, height_m: float = HEAD_M) -> tuple[np.ndarray, np.ndarray]:
    return expected_boxes_of(floor_m, cameras([camera]), np.zeros(len(floor_m), dtype=np.int64), height_m)


def people_before(camera: CameraView, count: int, seed: int = 1) -> np.ndarray:
    chance = np.random.default_rng(seed)
    pixels = np.column_stack([chance.uniform(300, 980, count), chance.uniform(400, 680, count)])
    return camera.floor.to_floor(pixels).floor_m


@pytest.mark.parametrize(
    "dist", [pytest.param((0.0,) * 5, id="straight"), pytest.param((-0.2, 0.05, 0.0, 0.0, 0.0), id="bent")]
)
@pytest.mark.parametrize("height_m", [1.5, 1.7, 1.95])
def test_a_person_stands_where_and_as_tall_as_they_were_put(dist: tuple[float, ...], height_m: float) -> None:
    camera = looking_down(dist=dist)
    there = people_before(camera, 30)
    boxes, shows = expected_boxes(there, camera, height_m)
    place, cov, valid = stand(boxes, camera)
    assert shows.all()
    assert valid.all()
    # how far they lean is looked up beside their feet, and for somebody of usual height
    np.testing.assert_allclose(place[:, :2], there, atol=0.05)
    np.testing.assert_allclose(place[:, 2], height_m, atol=0.05)
    assert (np.linalg.eigvalsh(cov) > 0).all()


def test_feet_are_not_under_the_middle_of_the_box_of_somebody_who_leans() -> None:
    """A box around a pole with a head as wide as its foot, at both sides of the picture."""
    camera = looking_down()
    pixels = np.column_stack([np.repeat([200.0, 1080.0], 4), np.tile([420.0, 480.0, 540.0, 600.0], 2)])
    there = camera.floor.to_floor(pixels).floor_m
    ends = np.stack([camera.floor.to_image(there, height_m)[0] for height_m in (0.0, HEAD_M)])
    radius_px = np.array([8.0, 0.0])
    low, high = ends.min(axis=0) - radius_px, ends.max(axis=0) + radius_px
    boxes = np.column_stack([low, high - low])
    place, _, valid = stand(boxes, camera)
    under_the_middle = camera.floor.to_floor(np.column_stack([(low + high)[:, 0] / 2, high[:, 1]])).floor_m
    off_m, plainly_off_m = (np.linalg.norm(each - there, axis=1) for each in (place[:, :2], under_the_middle))
    assert valid.all()
    assert (off_m < 0.5 * plainly_off_m).all()


def test_the_covariance_is_that_of_places_from_boxes_with_errors() -> None:
    camera, chance = looking_down(), np.random.default_rng(4)
    there = people_before(camera, 6)
    boxes, _ = expected_boxes(there, camera)
    _, cov, _ = stand(boxes, camera)
    for k, box in enumerate(boxes):
        left, top, width, height = box
        across, foot, head = (sigma * height + 1.0 for sigma in (0.03, 0.05, 0.04))
        middle = left + width / 2 + chance.normal(0, across, 20_000)
        low, high = top + height + chance.normal(0, foot, 20_000), top + chance.normal(0, head, 20_000)
        noisy = np.column_stack([middle - width / 2, high, np.full(20_000, width), low - high])
        place, _, valid = stand(noisy, camera)
        usual = valid & (place[:, 2] > 1.3)
        drawn = np.cov(place[usual].T) + np.diag([0.07**2, 0.07**2, 0.05**2])
        np.testing.assert_allclose(drawn, cov[k], rtol=0.35, atol=0.004)


def test_feet_hidden_by_someone_in_front_leave_the_place_to_the_head() -> None:
    camera = looking_down()
    there = people_before(camera, 20)
    boxes, _ = expected_boxes(there, camera)
    cut = boxes * np.array([1.0, 1.0, 1.0, 0.5])
    feet_px, _ = camera.floor.to_image(there)
    # at the picture's side people lean: their upper half is further out, and not as wide
    aside_px = camera.floor.standing_px(feet_px)[:, 0]
    cut[:, 0] += 0.2 * aside_px + 0.2 * np.abs(aside_px)
    cut[:, 2] -= 0.4 * np.abs(aside_px)
    for k, box in enumerate(cut):
        in_front = box + np.array([0.0, 0.3 * box[3], 0.0, 1.2 * box[3]])
        place, cov, valid = stand(np.stack([box, in_front]), camera)
        _, whole, _ = stand(boxes[k : k + 1], camera)
        assert valid[0]
        assert np.hypot(*(place[0, :2] - there[k])) < 0.3
        assert np.trace(cov[0]) > np.trace(whole[0])
        # taller than thought is nearer along the line of sight: place and height belong together
        assert np.abs(cov[0, :2, 2]).max() > 0.01


def test_a_box_too_short_for_no_reason_speaks_for_a_crouching_and_for_a_hidden_person() -> None:
    camera = looking_down()
    there = people_before(camera, 20)
    crouching, _ = expected_boxes(there, camera, 0.9)
    standing, _ = expected_boxes(there, camera)
    for boxes in (crouching, standing * np.array([1.0, 1.0, 1.0, 0.6])):
        for box, (x_m, y_m) in zip(boxes, there, strict=True):
            place, cov, valid = stand(box[None], camera)
            off = place[0, :2] - [x_m, y_m]
            assert valid.all()
            assert off @ np.linalg.inv(cov[0, :2, :2]) @ off < 6.0
            assert (place[0, 2], cov[0, 2, 2]) == pytest.approx((HEAD_M, 0.3**2), abs=0.01)


def of_unknown_pose() -> CameraView:
    flat = floor_view(Homography(((0.01, 0.0, 0.0), (0.0, 0.01, 0.0), (0.0, 0.0, 1.0))))
    view = FloorView(SIZE_PX, None, flat.floor_from_plane, flat.plane_from_floor, None, None)
    return CameraView(view, SIZE_PX, (0.0, 0.0))


def test_cameras_at_once_see_what_each_sees_by_itself() -> None:
    each = [
        looking_down(), looking_down(turn=1.2, high_m=3.0, dist=(-0.2, 0.05, 0.001, -0.002, 0.01)), of_unknown_pose(),
        looking_down(turn=2.0, dist=(-0.3, 0.1, 0.0, 0.0, 0.0)),
    ]  # fmt: skip
    chance = np.random.default_rng(6)
    of = np.sort(chance.integers(0, len(each), 200))
    boxes = np.column_stack([
        chance.uniform(-40, 1300, 200), chance.uniform(-700, 600, 200), chance.uniform(5, 120, 200),
        chance.uniform(10, 400, 200),
    ])  # fmt: skip
    floor_m = chance.uniform(-12, 12, (200, 2))
    together = [*stand_of(boxes, cameras(each), of), *expected_boxes_of(floor_m, cameras(each), of)]
    for number, camera in enumerate(each):
        rows = of == number
        alone = [*stand(boxes[rows], camera), *expected_boxes(floor_m[rows], camera)]
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[rows], other, rtol=1e-9, atol=1e-9)
    shows = together[4]
    assert 0 < shows.sum() < len(shows)
    assert 0 < together[2].sum() < len(boxes)


def test_a_camera_of_unknown_pose_tells_places_and_leaves_heights_open() -> None:
    camera = of_unknown_pose()
    place, cov, valid = stand(np.array([[100.0, 100.0, 40.0, 100.0]]), camera)
    assert valid.all()
    np.testing.assert_allclose(place, [[1.2, 2.0, HEAD_M]])
    assert cov[0, 2, 2] == pytest.approx(0.3**2)
    assert (cov[0, :2, 2] == 0).all()


def test_boxes_above_the_horizon_have_no_place_and_no_boxes_are_an_answer() -> None:
    camera = looking_down()
    assert not stand(np.array([[600.0, -900.0, 40.0, 100.0]]), camera)[2].any()
    place, cov, valid = stand(np.zeros((0, 4)), camera)
    assert (place.shape, cov.shape, valid.shape) == ((0, 3), (0, 3, 3), (0,))
