import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoton import geometry, homography
from spoton.errors import InputError
from spoton.geometry import floor_view, foot_points, iou
from spoton.lens import lens
from spoton.site import Homography, Pinhole, PointPairs

SIZE_PX = (1280, 720)
DISTORTIONS = {
    "no distortion": (0.0, 0.0, 0.0, 0.0, 0.0),
    "barrel": (-0.28, 0.07, 0.001, -0.0007, -0.005),
    "pincushion": (0.12, 0.03, -0.001, 0.002, 0.01),
    "four coefficients": (-0.2, 0.05, 0.001, 0.001),
    "rational": (0.2, -0.1, 0.0005, -0.0004, 0.01, 0.4, -0.05, 0.02),
}
seeds = st.integers(0, 2**32 - 1)
fixed = settings(derandomize=True, deadline=None, max_examples=40)


def looking_at(position, target, roll=0.0):
    """World-to-camera R, t of a camera at ``position`` that looks at ``target``, z up."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    R = cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0] @ R
    return R, -R @ np.asarray(position)


def as_pinhole(K, R, t, dist=()):
    return Pinhole(tuple(map(tuple, K.tolist())), tuple(map(tuple, R.tolist())), tuple(t.tolist()), tuple(dist))


def random_camera(rng, dist=()):
    position = np.array([*rng.uniform(-20, 20, 2), rng.uniform(2, 9)])
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(5, 25)
    target = np.add(position, [away * np.cos(angle), away * np.sin(angle), -position[2]])
    R, t = looking_at(position, target, rng.normal(0, 0.05))
    f = rng.uniform(700, 1600)
    K = np.array(
        [[f, 0.0, 640 + rng.normal(0, 20)], [0.0, f * rng.uniform(0.98, 1.02), 360 + rng.normal(0, 20)], [0, 0, 1]]
    )
    return as_pinhole(K, R, t, dist), target, position


def seen_floor(rng, calibration, target, n=60):
    """Floor points near the target that fall into the picture, with OpenCV's projection of them."""
    floor = target[:2] + rng.uniform(-4, 4, (n, 2))
    dist = np.array(calibration.dist) if calibration.dist else None
    K, R, t = np.array(calibration.K), np.array(calibration.R), np.array(calibration.t)
    world = np.column_stack([floor, np.zeros(n)])
    straight = cv2.projectPoints(world, R, t, K, None)[0][:, 0]
    image = cv2.projectPoints(world, R, t, K, dist)[0][:, 0]
    ahead = (world @ R.T + t)[:, 2] > 0.5
    inside = ahead & (straight > 0).all(axis=1) & (straight < SIZE_PX).all(axis=1)
    return floor[inside], image[inside], world[inside]


@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_projection_equals_opencv(dist):
    rng = np.random.default_rng(1)
    for _ in range(20):
        calibration, target, _ = random_camera(rng, dist)
        floor, image, _ = seen_floor(rng, calibration, target)
        assert len(floor) > 5
        view = floor_view(calibration, SIZE_PX)
        ours, valid = view.to_image(floor)
        assert valid.all()
        np.testing.assert_allclose(ours, image, atol=1e-6)
        back = view.to_floor(image)
        assert back.valid.all()
        np.testing.assert_allclose(back.floor_m, floor, atol=1e-6)


def test_heads_project_as_in_opencv():
    rng = np.random.default_rng(2)
    calibration, target, _ = random_camera(rng, DISTORTIONS["barrel"])
    floor, image, world = seen_floor(rng, calibration, target)
    view = floor_view(calibration, SIZE_PX)
    head = cv2.projectPoints(
        np.add(world, [0, 0, 1.7]),
        *(np.array(a) for a in (calibration.R, calibration.t, calibration.K, calibration.dist)),
    )[0][:, 0]
    np.testing.assert_allclose(view.to_image(floor, 1.7)[0], head, atol=1e-6)
    np.testing.assert_allclose(view.standing_px(image, 1.7)[:, 1], image[:, 1] - head[:, 1], atol=1e-6)
    np.testing.assert_allclose(view.standing_px(image, 1.7)[:, 0], head[:, 0] - image[:, 0], atol=1e-6)


def test_people_look_wide_from_above_and_as_tall_as_wide_from_the_side():
    level = as_pinhole(
        np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]]), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
        np.array([0.0, 0.85, 0.0]),
    )  # fmt: skip
    feet_px, _ = floor_view(level, SIZE_PX).to_image(np.array([[0.0, 8.0], [2.0, 8.0]]))
    aside, tall, wide = floor_view(level, SIZE_PX).standing_px(feet_px).T
    np.testing.assert_allclose(aside, 0.0, atol=1e-9)
    np.testing.assert_allclose(tall, 800 * 1.7 / 8.0)
    np.testing.assert_allclose(wide[0], tall[0], rtol=1e-3)
    calibration, _, _ = random_camera(np.random.default_rng(2))
    aside, tall, wide = floor_view(calibration, SIZE_PX).standing_px(np.array([[640.0, 400], [640, 700]])).T
    assert (wide > tall).all()
    assert wide[1] / tall[1] > wide[0] / tall[0]


@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_undistortion_equals_opencv(dist):
    K = np.array([[900.0, 0.0, 630.0], [0.0, 910.0, 350.0], [0.0, 0.0, 1.0]])
    points = np.stack(np.meshgrid(np.linspace(0, 1280, 12), np.linspace(0, 720, 9)), axis=-1).reshape(-1, 2)
    rays, _, ok = lens(K, dist).to_rays(points)
    many = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-15)
    converging = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)  # OpenCV 4, OpenCV 5
    theirs = converging(points[:, None], K, np.array(dist), R=None, P=None, criteria=many)[:, 0]
    assert ok.all()
    np.testing.assert_allclose(rays, theirs, atol=1e-8)


def test_a_pixel_that_no_ray_reaches_is_not_valid():
    folding = lens(np.diag([500.0, 500.0, 1.0]), (-0.5, 0.0, 0.0, 0.0, 0.0))
    assert folding.limit_r == pytest.approx(np.sqrt(1 / 1.5))
    rays, slope, ok = folding.to_rays(np.array([[100.0, 0.0], [400.0, 0.0], [np.nan, 0.0], [np.inf, 1.0]]))
    assert ok.tolist() == [True, False, False, False]
    assert np.isfinite(rays).all()
    assert np.isfinite(slope).all()
    beyond, inside = folding.to_pixels(np.array([[0.9, 0.0], [0.5, 0.5]]))
    assert inside.tolist() == [False, True]
    assert np.isfinite(beyond).all()


@given(seeds)
@fixed
def test_floor_to_image_and_back_is_the_same_place(seed):
    rng = np.random.default_rng(seed)
    dist = list(DISTORTIONS.values())[seed % len(DISTORTIONS)]
    calibration, _, position = random_camera(rng, dist)
    view = floor_view(calibration, SIZE_PX)
    points = rng.uniform((0, 0), SIZE_PX, (50, 2))
    floor = view.to_floor(points)
    back, seen = view.to_image(floor.floor_m[floor.valid])
    assert seen.all()
    np.testing.assert_allclose(back, points[floor.valid], atol=1e-6)
    np.testing.assert_allclose(view.position_m, position, atol=1e-9)


@given(seeds)
@fixed
def test_homography_and_points_agree_with_the_camera_they_come_from(seed):
    rng = np.random.default_rng(seed)
    calibration, target, _ = random_camera(rng)
    floor, image, _ = seen_floor(rng, calibration, target)
    pinhole = floor_view(calibration, SIZE_PX)
    pairs = floor_view(PointPairs(tuple(map(tuple, image)), tuple(map(tuple, floor))), SIZE_PX)
    H = tuple(map(tuple, -pairs.floor_from_plane))
    matrix = floor_view(Homography(H), SIZE_PX)
    expected = pinhole.to_floor(image, 2.0)
    for view in (pairs, matrix):
        got = view.to_floor(image, 2.0)
        assert got.valid.all()
        np.testing.assert_allclose(got.floor_m, floor, atol=1e-6)
        np.testing.assert_allclose(got.cov_m2, expected.cov_m2, rtol=1e-5, atol=1e-12)
        np.testing.assert_allclose(view.to_image(floor)[0], image, atol=1e-5)


def test_homography_equals_opencv_on_noisy_points():
    rng = np.random.default_rng(3)
    for _ in range(10):
        calibration, target, _ = random_camera(rng)
        floor, image, _ = seen_floor(rng, calibration, target, n=20)
        image = image + rng.normal(0, 1.5, image.shape)
        ours = floor_view(PointPairs(tuple(map(tuple, image)), tuple(map(tuple, floor)))).plane_from_floor
        theirs = cv2.findHomography(floor, image, 0)[0]
        cost = [np.sum((homography.apply(H, floor)[0] - image) ** 2) for H in (ours, theirs)]
        assert cost[0] <= cost[1] * (1 + 1e-9)
        four = np.linalg.inv(homography.fit(image[:4], floor[:4]))
        np.testing.assert_allclose(homography.apply(four, floor[:4])[0], image[:4], atol=1e-6)


@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_covariance_equals_monte_carlo(dist):
    rng = np.random.default_rng(4)
    calibration, target, _ = random_camera(rng, dist)
    _, image, _ = seen_floor(rng, calibration, target)
    view = floor_view(calibration, SIZE_PX)
    sigma = np.column_stack([np.full(len(image), 0.4), np.full(len(image), 0.7)])
    cov = view.to_floor(image, sigma).cov_m2
    np.testing.assert_array_equal(cov, cov.transpose(0, 2, 1))
    assert (np.linalg.eigvalsh(cov) > 0).all()
    for k in range(3):
        drawn = view.to_floor(image[k] + rng.normal(0, 1, (60_000, 2)) * sigma[k]).floor_m
        np.testing.assert_allclose(np.cov(drawn.T), cov[k], rtol=0.04, atol=0.01 * np.trace(cov[k]))


def test_horizon_and_sky_have_no_place_on_the_floor():
    R, t = looking_at([0.0, 0.0, 4.0], [0.0, 10.0, 4.0])
    K = np.array([[1000.0, 0.0, 640.0], [0.0, 1000.0, 360.0], [0.0, 0.0, 1.0]])
    view = floor_view(as_pinhole(K, R, t), SIZE_PX)
    points = np.array([[640, 100], [640, 360], [640, 361], [640, 363], [640, 700], [np.nan, 1.0]], dtype=float)
    got = view.to_floor(points)
    assert got.valid.tolist() == [False, False, False, True, True, False]
    assert np.isfinite(got.floor_m).all()
    assert np.isfinite(got.cov_m2).all()
    assert got.cov_m2[0, 0, 0] == 1e8
    np.testing.assert_allclose(got.floor_m[4], [0.0, 4000 / 340], atol=1e-9)
    behind, seen = view.to_image(np.array([[0.0, -5.0], [0.0, 5.0], [0.0, 0.0]]))
    assert seen.tolist() == [False, True, False]
    assert np.isfinite(behind).all()
    assert np.isnan(view.standing_px(points)[:, 1][:3]).all()


def test_nobody_gives_empty_arrays():
    calibration, *_ = random_camera(np.random.default_rng(5), DISTORTIONS["barrel"])
    view = floor_view(calibration, SIZE_PX)
    got = view.to_floor(np.zeros((0, 2)))
    assert [a.shape for a in got] == [(0, 2), (0, 2, 2), (0,)]
    assert [a.shape for a in view.to_image(np.zeros((0, 2)))] == [(0, 2), (0,)]
    assert view.standing_px(np.zeros((0, 2)))[:, 1].shape == (0,)
    assert foot_points(np.zeros((0, 4))).shape == (0, 2)
    assert iou(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)


@given(seeds)
@fixed
def test_height_from_a_homography_is_that_of_the_camera(seed):
    """Exact where the camera has square pixels and a central principal point, as the recovery assumes."""
    rng = np.random.default_rng(seed)
    calibration, target, position = random_camera(rng)
    f = calibration.K[0][0]
    calibration = as_pinhole(
        np.array([[f, 0.0, 640.0], [0.0, f, 360.0], [0, 0, 1]]), np.array(calibration.R), np.array(calibration.t)
    )
    floor, image, _ = seen_floor(rng, calibration, target)
    exact = floor_view(calibration, SIZE_PX)
    flip = rng.choice([1.0, -1.0])  # a plan drawn with y downwards
    plan = floor * [1.0, flip]
    guessed = floor_view(PointPairs(tuple(map(tuple, image)), tuple(map(tuple, plan))), SIZE_PX)
    np.testing.assert_allclose(guessed.standing_px(image)[:, 1], exact.standing_px(image)[:, 1], rtol=1e-4)
    np.testing.assert_allclose(guessed.position_m, position * [1.0, flip, 1.0], rtol=1e-3, atol=1e-3)


def test_height_is_unknown_without_a_pose():
    above = floor_view(Homography(((0.01, 0.0, 0.0), (0.0, -0.01, 7.2), (0.0, 0.0, 1.0))), SIZE_PX)
    assert above.position_m is None
    assert np.isnan(above.standing_px(np.array([[600.0, 300.0]]))[:, 1]).all()
    _, seen = above.to_image(np.array([[1.0, 1.0]]), 1.7)
    assert not seen.any()
    np.testing.assert_allclose(above.to_image(np.array([[1.0, 1.0]]))[0], [[100.0, 620.0]])


@pytest.mark.parametrize("kind", ["pinhole", "pairs"])
def test_a_calibration_holds_for_pictures_of_another_size(kind):
    rng = np.random.default_rng(6)
    calibration, target, _ = random_camera(rng, DISTORTIONS["barrel"] if kind == "pinhole" else ())
    floor, image, _ = seen_floor(rng, calibration, target)
    pairs = PointPairs(tuple(map(tuple, image)), tuple(map(tuple, floor)))
    full = floor_view(calibration if kind == "pinhole" else pairs, SIZE_PX)
    half = full.scaled((640, 360))
    assert half.size_px == (640, 360)
    small, large = half.to_floor(image / 2, 0.5), full.to_floor(image, 1.0)
    np.testing.assert_allclose(small.floor_m, large.floor_m, atol=1e-6)
    np.testing.assert_allclose(small.cov_m2, large.cov_m2, rtol=1e-6)
    np.testing.assert_allclose(half.standing_px(image / 2)[:, 1], full.standing_px(image)[:, 1] / 2, rtol=1e-6)
    np.testing.assert_allclose(half.to_image(floor)[0], image / 2, atol=1e-5)
    unsized = floor_view(calibration if kind == "pinhole" else pairs)
    np.testing.assert_array_equal(unsized.scaled(SIZE_PX).standing_px(image)[:, 1], full.standing_px(image)[:, 1])


def test_a_world_whose_z_points_down_lifts_people_to_the_camera():
    calibration, _, position = random_camera(np.random.default_rng(7))
    flip = np.diag([1.0, -1.0, -1.0])
    down = as_pinhole(np.array(calibration.K), np.array(calibration.R) @ flip, np.array(calibration.t))
    foot = np.array([[640.0, 500.0]])
    up_view, down_view = floor_view(calibration, SIZE_PX), floor_view(down, SIZE_PX)
    np.testing.assert_allclose(down_view.standing_px(foot)[:, 1], up_view.standing_px(foot)[:, 1], rtol=1e-9)
    assert down_view.position_m[2] == pytest.approx(position[2])


SQUARE = [(0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (0.0, 3.0)]
PIXELS = [(100.0, 600.0), (1100.0, 620.0), (800.0, 300.0), (300.0, 290.0)]


@pytest.mark.parametrize(
    ("image", "floor", "says"),
    [
        pytest.param(PIXELS[:3], SQUARE[:3], "3 point pairs are too few", id="three pairs"),
        pytest.param(PIXELS, SQUARE[:3], "beside floor points", id="unequal lengths"),
        pytest.param(
            [(100.0 + i, 600.0 - 2 * i) for i in range(4)], SQUARE, "all image points lie on one line", id="line"
        ),
        pytest.param(
            PIXELS, [(float(i), 2.0 * i) for i in range(4)], "all floor points lie on one line", id="floor line"
        ),
        pytest.param([*PIXELS[:3], PIXELS[0]], [*SQUARE[:3], SQUARE[0]], "only 3 of the 4", id="one pair twice"),
        pytest.param(
            [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (0.5, 3.0)],
            [(0.0, 0.0), (10.0, 0.0), (20.0, 0.0), (5.0, 9.0)],
            "too many of them lie on one line",
            id="three on a line in both",
        ),
        pytest.param(
            PIXELS,
            [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (5.0, 9.0)],
            "too many of them lie on one line",
            id="three on floor",
        ),
        pytest.param(PIXELS, [SQUARE[i] for i in (0, 2, 1, 3)], "contradict each other", id="two corners swapped"),
        pytest.param([*PIXELS[:3], (np.nan, 1.0)], SQUARE, "an image point is not finite", id="not finite"),
    ],
)
def test_pairs_that_fix_no_floor_are_refused(image, floor, says):
    with pytest.raises(InputError, match=says) as caught:
        homography.fit(image, floor)
    assert caught.value.remedy


def test_calibrations_that_fix_no_floor_are_refused():
    with pytest.raises(InputError, match="singular"):
        floor_view(Homography(((1.0, 0.0, 0.0), (2.0, 0.0, 0.0), (0.0, 0.0, 1.0))))
    K, R = np.diag([900.0, 900.0, 1.0]), np.eye(3)
    with pytest.raises(InputError, match="camera lies in the floor"):
        floor_view(as_pinhole(K, R, np.zeros(3)))
    with pytest.raises(InputError, match="3 coefficients"):
        floor_view(as_pinhole(K, R, np.array([0.0, 0.0, 3.0]), (0.1, 0.1, 0.1)))


def test_residuals_tell_how_far_a_known_point_is_missed():
    view = floor_view(PointPairs(tuple(PIXELS), tuple(SQUARE)), SIZE_PX)
    fit = view.residuals(np.array(PIXELS), np.array(SQUARE))
    assert fit.image_px.max() < 1e-6
    assert fit.floor_m.max() < 1e-8
    moved = view.residuals(np.add(PIXELS, [3.0, 4.0]), np.array(SQUARE))
    np.testing.assert_allclose(moved.image_px, 5.0, atol=1e-6)
    sky = view.residuals(np.array([[600.0, -5000.0]]), np.array([[2.0, 2.0]]))
    assert np.isinf(sky.floor_m).all()


boxes = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 40), st.integers(0, 40)), max_size=6
).map(lambda rows: np.array(rows, dtype=float).reshape(-1, 4))


@given(boxes, boxes)
@fixed
def test_overlap_counts_shared_pixels(a, b):
    """On whole-pixel boxes the overlaps are the counts of pixels of two masks."""
    ratio, covered = iou(a, b), geometry.ioa(a, b)
    assert ratio.shape == covered.shape == (len(a), len(b))

    def mask(box):
        drawn = np.zeros((150, 150), dtype=bool)
        x, y, w, h = np.add(box, [55, 55, 0, 0]).astype(int)
        drawn[y : y + h, x : x + w] = True
        return drawn

    for i, j in itertools.product(range(len(a)), range(len(b))):
        one, other = mask(a[i]), mask(b[j])
        shared = (one & other).sum()
        assert ratio[i, j] == pytest.approx(shared / max((one | other).sum(), 1))
        assert covered[i, j] == pytest.approx(shared / max(one.sum(), 1))
    paired = geometry.covered(np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1)))
    np.testing.assert_allclose(paired.reshape(len(a), len(b)), covered)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        pytest.param((10, 10, 20, 20), (10, 10, 20, 20), id="inside"),
        pytest.param((-10, -5, 20, 20), (0, 0, 10, 15), id="over the corner"),
        pytest.param((1270, 10, 20, 800), (1270, 10, 10, 710), id="over the far corner"),
        pytest.param((2000, 10, 20, 20), (1280, 10, 0, 20), id="outside"),
    ],
)
def test_clip_keeps_what_is_in_the_picture(box, kept):
    np.testing.assert_array_equal(geometry.clip(np.array([box]), SIZE_PX), [kept])


def test_people_stand_at_the_middle_of_the_lower_edge():
    np.testing.assert_array_equal(foot_points(np.array([[10, 20, 30, 100]])), [[25.0, 120.0]])
