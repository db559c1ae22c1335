"""The simulated plaza: the same for everyone who looks, physically plausible, and exact about itself."""

from __future__ import annotations

import threading
from itertools import islice, pairwise

import cv2
import numpy as np
import pytest

from spoton import site_file
from spoton.errors import InputError, SourceError
from spoton.sim.figure import JOINTS, PARTS, J, joint_radii, joints_m
from spoton.sim.looks import looks_of
from spoton.sim.plan import METRES_PER_PIXEL, PLAN_MARGIN_M, plan_picture
from spoton.sim.plaza import KEPT_STEPS, Plaza
from spoton.sim.render import NOISE_SIGMA, Renderer
from spoton.sim.rig import MOUNTS
from spoton.sim.site_text import site_toml, source_url
from spoton.sim.source import SimulatedCamera, open_simulated
from spoton.sim.surfaces import SHADE
from spoton.sim.truth import write_truth
from spoton.sim.visibility import seen_boxes

SMALL_PX = (320, 240)
NOBODY = np.zeros((0, len(JOINTS), 3)), np.zeros((0, len(JOINTS)))
RED, BLUE = (210, 20, 20), (20, 20, 210)


@pytest.fixture(scope="module")
def plaza() -> Plaza:
    return Plaza(7, size_px=SMALL_PX)


@pytest.fixture(scope="module")
def renderer(plaza) -> Renderer:
    return Renderer(7, 0, plaza.layout, plaza.views[0])


class Hands:
    """A clock that moves only when somebody waits or works."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self.now_us = now_us
        self.waits_s: list[float] = []

    def clock_us(self) -> int:
        return self.now_us

    def wait_s(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.now_us += round(seconds * 1e6)


def figures(places, *, heading=0.0, phase=0.0, stride=1.4, height=1.75):
    """Joints and radii of people at these floor places."""
    count = len(places)
    full = np.full(count, 1.0)
    joints = joints_m(np.array(places, float), heading * full, phase * full, stride * full, height * full)
    return joints, joint_radii(height * full, full)


def dressed(*colours):
    """One plain dress per colour, every part the same."""
    return [(colour,) * len(PARTS) for colour in colours]


def along_sight(view, distance_m: float, sideways_m: float = 0.0):
    """A floor point this far along the camera's line of sight over the ground."""
    ahead = view.R[2, :2] / np.hypot(*view.R[2, :2])
    return view.place_m()[:2] + distance_m * ahead + sideways_m * np.array([-ahead[1], ahead[0]])


class TestSameForEveryone:
    def test_a_frame_does_not_depend_on_what_was_asked_before(self, plaza):
        straight, jumping = Plaza(7, size_px=SMALL_PX), Plaza(7, size_px=SMALL_PX)
        shots = {n: straight.picture(n, 1) for n in (0, 3, 40)}
        for n in (40, 0, 3, 40):
            np.testing.assert_array_equal(jumping.picture(n, 1), shots[n])
        np.testing.assert_array_equal(plaza.boxes(40, 1)[1], jumping.boxes(40, 1)[1])

    def test_the_past_can_be_asked_for_after_it_left_the_cache(self):
        world, fresh = Plaza(5, people=3), Plaza(5, people=3)
        world.instant(2 * KEPT_STEPS + 700)
        for n in (0, 611, 2 * KEPT_STEPS + 3):
            now, then = world.instant(n), fresh.instant(n)
            for field in ("ids", "floor_m", "heading", "phase", "stride_m"):
                np.testing.assert_array_equal(getattr(now, field), getattr(then, field))

    def test_the_frame_rate_does_not_change_the_world(self):
        slow, fast = Plaza(7, fps=5), Plaza(7, fps=25)
        for second in (0, 7, 31):
            np.testing.assert_array_equal(slow.instant(5 * second).ids, fast.instant(25 * second).ids)
            np.testing.assert_allclose(slow.instant(5 * second).floor_m, fast.instant(25 * second).floor_m, atol=1e-6)

    def test_another_seed_is_another_world(self, plaza):
        assert not np.allclose(plaza.truth(0)[1], Plaza(8, size_px=SMALL_PX).truth(0)[1][: len(plaza.truth(0)[1])])

    def test_the_number_of_cameras_does_not_change_the_world(self, plaza):
        other = Plaza(7, cameras=1, size_px=SMALL_PX)
        np.testing.assert_array_equal(other.picture(12, 0), plaza.picture(12, 0))

    def test_threads_see_the_same_world(self, plaza):
        world = Plaza(7, size_px=SMALL_PX)
        seen: list[np.ndarray] = []
        readers = [threading.Thread(target=lambda: seen.append(world.picture(90, 2))) for _ in range(3)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert len(seen) == 3
        for picture in seen:
            np.testing.assert_array_equal(picture, plaza.picture(90, 2))


class TestWalkers:
    @pytest.mark.parametrize("seed", [1, 2, 7])
    def test_people_keep_apart_walk_at_human_speed_and_stay_clear_of_furniture(self, seed):
        world = Plaza(seed)
        discs = world.layout.discs_m()
        before: dict[int, np.ndarray] = {}
        speeds = []
        for n in range(600):
            now = world.instant(n)
            gaps = np.linalg.norm(now.floor_m[:, None] - now.floor_m[None], axis=2) + 9 * np.eye(len(now.ids))
            assert gaps.min() > 0.35
            rims = np.linalg.norm(now.floor_m[:, None] - discs[None, :, :2], axis=2) - discs[:, 2]
            assert rims.min() > 0.1
            here = dict(zip(now.ids.tolist(), now.floor_m, strict=True))
            speeds += [np.hypot(*(here[k] - before[k])) * world.fps for k in here.keys() & before.keys()]
            before = here
        assert max(speeds) < 2.5
        walking = [speed for speed in speeds if speed > 0.3]
        assert 1.0 < np.mean(walking) < 1.5
        assert len(walking) > 0.6 * len(speeds)

    def test_ids_are_never_used_again_and_new_people_get_higher_ones(self):
        world = Plaza(7)
        highest, present, gone = 0, set(), set()
        for n in range(0, 1500, 2):
            here = set(world.instant(n).ids.tolist())
            assert len(here) == len(world.instant(n).ids) <= 12
            assert not here & gone
            fresh = here - present
            assert n == 0 or all(person > highest for person in fresh)
            highest = max(here | {highest})
            gone |= present - here
            present = here
        assert len(gone) > 10
        assert highest > 20

    def test_the_plaza_stays_lively(self):
        world = Plaza(3)
        inside = [len(world.truth(n)[0]) for n in range(0, 900, 15)]
        assert np.mean(inside) > 9.5

    def test_nobody_appears_or_vanishes_in_sight(self):
        world = Plaza(7)
        width, depth = world.layout.size_m
        for n in range(1, 1200):
            a, b = world.instant(n - 1), world.instant(n)
            for now, other in ((a, b), (b, a)):
                for place in now.floor_m[~np.isin(now.ids, other.ids)]:
                    assert not ((place > 0) & (place < (width, depth))).all()

    def test_an_empty_plaza_is_still_a_picture(self):
        world = Plaza(7, people=0, size_px=SMALL_PX)
        assert world.truth(50)[1].shape == (0, 2)
        assert world.boxes(50, 0)[1].shape == (0, 4)
        assert world.picture(50, 0).shape == (240, 320, 3)

    def test_feet_in_stance_stand_still_on_the_ground(self):
        stride, steps = 1.4, 80
        walked = np.linspace(0, stride, steps, endpoint=False)
        places = np.column_stack((walked, np.zeros(steps)))
        joints = joints_m(
            places, np.zeros(steps), 2 * np.pi * walked / stride, np.full(steps, stride), np.full(steps, 1.75)
        )
        ankles = joints[:, [J["ankle_l"], J["ankle_r"]]]
        np.testing.assert_allclose(ankles[:, :, :2].mean(axis=1), places, atol=1e-9)
        moved = np.abs(np.diff(ankles[:, :, 0], axis=0)) / np.diff(walked)[:, None]
        assert np.median(moved.min(axis=1)) < 0.45
        assert ankles[..., 2].min() > 0.0
        assert (joints[..., 2] >= 0.0).all()

    def test_limbs_keep_their_length(self):
        phases = np.linspace(0, 2 * np.pi, 50)
        joints = joints_m(np.zeros((50, 2)), 0 * phases, phases, 1.4 + 0 * phases, 1.8 + 0 * phases)
        for upper, lower in (("hip_l", "knee_l"), ("shoulder_r", "elbow_r"), ("elbow_l", "wrist_l")):
            length = np.linalg.norm(joints[:, J[upper]] - joints[:, J[lower]], axis=1)
            assert np.ptp(length) < 0.03
        assert joints.shape == (50, len(JOINTS), 3)

    def test_people_of_nearby_numbers_are_dressed_differently(self):
        worn = [(looks_of(7, k).top, looks_of(7, k).bottom) for k in range(1, 60)]
        assert all(len(set(worn[k : k + 17])) == 17 for k in range(40))


class TestTruth:
    def test_floor_points_lie_at_the_bottom_middle_of_their_boxes(self, plaza):
        """Projected by OpenCV, independently of the simulation's own projection."""
        checked = 0
        for n in range(0, 200, 20):
            places = dict(zip(*(part.tolist() for part in plaza.truth(n)), strict=True))
            for camera, view in enumerate(plaza.views):
                rotation = cv2.Rodrigues(view.R)[0]
                for person, (x, y, w, h), visible in zip(*plaza.boxes(n, camera), strict=True):
                    if person not in places or visible < 0.99:
                        continue
                    point = np.array([[*places[person], 0.0]])
                    foot = cv2.projectPoints(point, rotation, view.t, view.K, np.zeros(5))[0].ravel()
                    assert abs(foot[0] - (x + w / 2)) < 0.3 * h
                    assert -0.05 * h < (y + h) - foot[1] < 0.27 * h
                    checked += 1
        assert checked > 100

    def test_standing_people_have_their_floor_point_near_the_bottom_middle(self, renderer):
        joints, radii = figures([along_sight(renderer.view, 7.0, side) for side in (-1.0, 0.0, 1.5)], stride=0.5)
        rows, boxes_px, visible = seen_boxes(renderer, joints, radii, dressed(RED, RED, RED))
        feet = joints[rows][:, [J["ankle_l"], J["ankle_r"]]].mean(axis=1) * (1, 1, 0)
        px, _ = renderer.view.project(feet)
        assert (visible > 0.99).all()
        np.testing.assert_allclose(boxes_px[:, 0] + boxes_px[:, 2] / 2, px[:, 0], atol=4.0)
        np.testing.assert_allclose(boxes_px[:, 1] + boxes_px[:, 3], px[:, 1], atol=5.0)

    def test_projection_agrees_with_opencv(self, plaza):
        points = np.random.default_rng(0).uniform((0, 0, 0), (16, 12, 2), (50, 3))
        for view in plaza.views:
            px, _ = view.project(points)
            theirs = cv2.projectPoints(points, cv2.Rodrigues(view.R)[0], view.t, view.K, np.zeros(5))[0][:, 0]
            np.testing.assert_allclose(px, theirs, atol=1e-6)
            np.testing.assert_allclose(view.R @ view.R.T, np.eye(3), atol=1e-12)
            assert np.linalg.det(view.R) == pytest.approx(1.0)

    def test_boxes_hold_the_pixels_that_people_change(self, renderer):
        joints, radii = figures([along_sight(renderer.view, 8.0, 2.0)])
        with_one = renderer.paint(joints, radii, dressed(RED), 0.0, 5).astype(int)
        empty = renderer.paint(*NOBODY, [], 0.0, 5).astype(int)
        _, boxes_px, visible = seen_boxes(renderer, joints, radii, dressed(RED))
        x, y, w, h = boxes_px[0]
        red = ((with_one - empty)[..., 0] - (with_one - empty)[..., 2]) > 60
        rows, columns = np.nonzero(red)
        assert visible[0] > 0.99
        assert (columns.min(), rows.min()) == pytest.approx((x, y), abs=1.6)
        assert (columns.max() + 1, rows.max() + 1) == pytest.approx((x + w, y + h), abs=1.6)

    def test_boxes_stay_in_the_picture_and_fractions_in_their_range(self, plaza):
        width, height = plaza.size_px
        for n in range(0, 300, 30):
            for camera in range(4):
                ids, boxes_px, visible = plaza.boxes(n, camera)
                assert len(ids) == len(boxes_px) == len(visible)
                assert (boxes_px[:, :2] >= 0).all()
                assert (boxes_px[:, :2] + boxes_px[:, 2:] <= (width, height)).all()
                assert ((visible >= 0) & (visible <= 1)).all()

    def test_every_spot_of_the_plaza_is_seen_and_most_by_two(self, plaza):
        x, y = np.meshgrid(np.arange(0.3, 15.8, 0.3), np.arange(0.3, 11.8, 0.3))
        seen = plaza.seeing(np.column_stack((x.ravel(), y.ravel()))).sum(axis=1)
        assert seen.min() >= 1
        assert (seen >= 2).mean() > 0.8

    def test_people_are_50_to_200_px_tall_in_a_picture_of_640_px(self, plaza):
        heights = []
        for n in range(0, 200, 40):
            for camera in range(4):
                _, boxes_px, visible = plaza.boxes(n, camera)
                heights += (2 * boxes_px[visible > 0.95, 3]).tolist()
        assert 48 < np.quantile(heights, 0.02) < np.quantile(heights, 0.98) < 200

    def test_written_files_parse_back(self, plaza, tmp_path):
        write_truth(plaza, tmp_path, range(10, 14))
        assert {path.name for path in (tmp_path / "gt").iterdir()} == {
            "world.txt", *(f"{view.name}.txt" for view in plaza.views),
        }  # fmt: skip
        world = np.loadtxt(tmp_path / "gt" / "world.txt", delimiter=",", ndmin=2)
        for n in range(10, 14):
            ids, floor_m = plaza.truth(n)
            rows = world[world[:, 0] == n + 1]
            np.testing.assert_array_equal(rows[:, 1], ids)
            np.testing.assert_allclose(rows[:, 2:], floor_m, atol=1e-4)
        camera = np.loadtxt(tmp_path / "gt" / f"{plaza.views[2].name}.txt", delimiter=",", ndmin=2)
        ids, boxes_px, visible = plaza.boxes(11, 2)
        rows = camera[camera[:, 0] == 12]
        np.testing.assert_array_equal(rows[:, 1], ids[visible >= 0.2])
        np.testing.assert_allclose(rows[:, 2:6], boxes_px[visible >= 0.2], atol=0.01)
        assert (rows[:, 6:] == (1, -1, -1, -1)).all()


class TestPictures:
    def test_the_nearer_person_hides_the_farther_one(self, renderer):
        near, far = along_sight(renderer.view, 7.0, 2.2), along_sight(renderer.view, 7.9, 2.4)
        for places, colours in (((near, far), (RED, BLUE)), ((far, near), (BLUE, RED))):
            joints, radii = figures(places)
            rows, boxes_px, visible = seen_boxes(renderer, joints, radii, dressed(*colours))
            share = {colours[row]: fraction for row, fraction in zip(rows, visible, strict=True)}
            assert share[RED] > 0.99
            assert 0.1 < share[BLUE] < 0.9
            picture = renderer.paint(joints, radii, dressed(*colours), 0.0, 0)
            x, y, w, h = boxes_px[[colours[row] for row in rows].index(RED)]
            chest = picture[round(y + 0.35 * h), round(x + 0.5 * w)].astype(int)
            assert chest[0] > chest[2] + 60

    def test_walls_and_planters_hide_people(self, plaza, renderer):
        gate = plaza.layout.gates[1]
        planter = plaza.layout.blocks[1]
        behind_planter = (np.array(planter.low_m[:2]) + planter.high_m[:2]) / 2 + (0.3, 0.75)
        joints, radii = figures([gate.at(-1.2, 3.4), gate.at(-1.2, -3.4), behind_planter])
        rows, _, visible = seen_boxes(renderer, joints, radii, dressed(RED, RED, RED))
        share = dict(zip(rows.tolist(), visible, strict=True))
        assert share.get(0, 0.0) == 0.0
        assert share.get(1, 0.0) == 0.0
        assert 0.5 < share[2] < 0.98

    def test_people_cast_a_shadow_about_a_third_darker_of_nearly_the_same_hue(self, renderer):
        joints, radii = figures([along_sight(renderer.view, 7.5, -2.0)])
        empty = renderer.paint(*NOBODY, [], 0.0, 3).astype(float)
        ratio = renderer.paint(joints, radii, dressed(RED), 0.0, 3).astype(float) / np.maximum(empty, 1)
        hidden = np.zeros(ratio.shape[:2], bool)
        _, boxes_px, _ = seen_boxes(renderer, joints, radii, dressed(RED))
        x, y, w, h = np.round(boxes_px[0]).astype(int)
        hidden[y - 2 : y + h + 2, x - 2 : x + w + 2] = True
        dark = (ratio.mean(axis=2) < 0.75) & ~hidden
        assert dark.sum() > 60
        assert np.median(ratio[dark], axis=0) == pytest.approx([sum(SHADE) / 3] * 3, abs=0.06)
        lit = ~hidden & (ratio.mean(axis=2) > 0.97)
        assert lit.mean() > 0.8

    def test_noise_has_its_spread_and_differs_from_frame_to_frame(self, renderer):
        shots = np.stack([renderer.paint(*NOBODY, [], 0.0, n) for n in range(12)]).astype(float)
        middling = (shots.mean(axis=0) > 30) & (shots.mean(axis=0) < 220)
        assert shots.std(axis=0, ddof=1)[middling].mean() == pytest.approx(NOISE_SIGMA, abs=0.25)
        assert all((a != b).mean() > 0.7 for a, b in pairwise(shots))

    def test_the_light_drifts_slightly(self, renderer):
        levels = [renderer.paint(*NOBODY, [], seconds, 0).mean() for seconds in range(0, 60, 4)]
        assert 0.01 < np.ptp(levels) / np.mean(levels) < 0.06

    def test_the_plan_has_its_scale_and_shows_walls_around_the_floor(self, plaza):
        picture = plan_picture(plaza)
        width, depth = plaza.layout.size_m
        assert picture.dtype == np.uint8
        assert picture.shape[1] * METRES_PER_PIXEL == pytest.approx(width + 2 * PLAN_MARGIN_M)
        assert picture.shape[0] * METRES_PER_PIXEL == pytest.approx(depth + 2 * PLAN_MARGIN_M)

        def at(x: float, y: float) -> np.ndarray:
            row = (depth + PLAN_MARGIN_M - y) / METRES_PER_PIXEL
            return picture[round(row), round((x + PLAN_MARGIN_M) / METRES_PER_PIXEL)].astype(int)

        assert at(2.0, -0.15).max() < 120
        assert at(*plaza.layout.gates[2].at(-0.15)).min() > 200
        assert at(2.0, 6.0).min() > 220
        fx, fy = plaza.layout.fountain.centre_m
        assert at(fx + 0.7, fy)[2] > at(fx + 0.7, fy)[0] + 15
        planter = plaza.layout.blocks[0]
        assert at(*((np.array(planter.low_m) + planter.high_m) / 2)[:2])[1] > 140


class TestSiteFile:
    def test_the_site_file_is_accepted_and_says_what_the_plaza_is(self, plaza):
        site = site_file.parse(site_toml(plaza, epoch_us=5_000_000), "site.toml")
        assert [camera.name for camera in site.cameras] == [view.name for view in plaza.views]
        for camera, view in zip(site.cameras, plaza.views, strict=True):
            assert camera.fps == 10.0
            assert camera.size_px == plaza.size_px
            np.testing.assert_allclose(np.reshape(camera.calibration.R, (3, 3)), view.R, atol=1e-8)
            np.testing.assert_allclose(np.reshape(camera.calibration.K, (3, 3)), view.K, atol=1e-8)
            np.testing.assert_allclose(camera.calibration.t, view.t, atol=1e-8)
        assert "epoch_us=5000000" in site.cameras[3].source
        assert {"fountain", "west-gate", "east-gate"} == {zone.name for zone in site.zones}

    def test_the_urls_open_the_same_cameras(self, plaza):
        hands = Hands()
        source = open_simulated(source_url(plaza, 2, hands.now_us), clock_us=hands.clock_us, wait_s=hands.wait_s)
        first = next(source.frames())
        np.testing.assert_array_equal(first.picture, plaza.picture(0, 2))


class TestLiveSource:
    def test_frames_come_when_they_are_due_and_carry_that_time(self, plaza):
        hands = Hands()
        epoch_us = hands.now_us + 250_000
        source = SimulatedCamera(plaza, 0, clock_us=hands.clock_us, epoch_us=epoch_us, wait_s=hands.wait_s)
        frames = list(islice(source.frames(), 4))
        assert not source.finite
        assert [frame.index for frame in frames] == [0, 1, 2, 3]
        assert [frame.at_us - epoch_us for frame in frames] == [0, 100_000, 200_000, 300_000]
        assert hands.waits_s == pytest.approx([0.25, 0.1, 0.1, 0.1])
        np.testing.assert_array_equal(frames[3].picture, plaza.picture(3, 0))

    def test_times_do_not_drift_at_a_frame_rate_that_does_not_divide_a_second(self):
        hands = Hands()
        source = SimulatedCamera(Plaza(7, 2, 1, 30.0, SMALL_PX), 0, clock_us=hands.clock_us, wait_s=hands.wait_s)
        started_us = hands.now_us
        times = [frame.at_us - started_us for frame in islice(source.frames(), 5)]
        assert times == [0, 33_333, 66_667, 100_000, 133_333]

    def test_a_late_reader_gets_the_newest_frame_and_the_index_jumps(self, plaza):
        hands = Hands()
        source = SimulatedCamera(plaza, 0, clock_us=hands.clock_us, wait_s=hands.wait_s)
        indices = []
        for frame in islice(source.frames(), 6):
            indices.append(frame.index)
            if frame.index == 1:
                hands.now_us += 460_000
        assert indices == [0, 1, 5, 6, 7, 8]
        assert source.skipped == 3

    def test_one_frame_late_is_not_skipped(self, plaza):
        hands = Hands()
        source = SimulatedCamera(plaza, 0, clock_us=hands.clock_us, wait_s=hands.wait_s)
        indices = []
        for frame in islice(source.frames(), 4):
            indices.append(frame.index)
            hands.now_us += 150_000 if frame.index == 1 else 0
        assert indices == [0, 1, 2, 3]
        assert source.skipped == 0

    def test_opening_late_begins_with_the_frame_due_now(self, plaza):
        hands = Hands()
        epoch_us = hands.now_us - 3_040_000
        source = SimulatedCamera(plaza, 0, clock_us=hands.clock_us, epoch_us=epoch_us, wait_s=hands.wait_s)
        assert next(source.frames()).index == 30
        assert next(source.frames(start_index=32)).index == 32
        assert source.skipped == 0

    def test_close_wakes_a_waiting_reader(self, plaza):
        source = SimulatedCamera(plaza, 0, clock_us=lambda: 0, epoch_us=3_600_000_000)
        got: list[int] = []
        reader = threading.Thread(target=lambda: got.extend(frame.index for frame in source.frames()))
        reader.start()
        source.close()
        reader.join(timeout=20)
        assert not reader.is_alive()
        assert got == []

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("sim://park?camera=0", "no such simulated site"),
            ("http://plaza?camera=0", "no such simulated site"),
            ("sim://plaza?lens=3", "unknown key 'lens'"),
            ("sim://plaza?camera=left", "camera = 'left' is not a number"),
            ("sim://plaza?camera=", "camera = '' is not a number"),
            ("sim://plaza?camera=4", "camera = 4"),
            ("sim://plaza?cameras=99", "cameras = 99"),
            ("sim://plaza?people=-1", "people = -1"),
            ("sim://plaza?fps=0", "fps = 0"),
            ("sim://plaza?fps=nan", "fps = nan"),
            ("sim://plaza?seed=-3", "seed = -3"),
            ("sim://plaza?width=0", "size_px"),
        ],
    )
    def test_a_url_that_cannot_be_used_says_why(self, url, said):
        with pytest.raises(SourceError) as caught:
            open_simulated(url, clock_us=lambda: 0)
        assert said in str(caught.value)
        assert url in str(caught.value)
        assert caught.value.remedy

    def test_the_time_of_a_frame_is_unknown_before_reading_begins(self, plaza):
        with pytest.raises(InputError, match="no epoch"):
            SimulatedCamera(plaza, 0, clock_us=lambda: 0).due_us(1)


def test_frames_before_the_first_are_refused(plaza):
    with pytest.raises(InputError, match="frame = -1"):
        plaza.truth(-1)


def test_there_is_a_place_for_up_to_eight_cameras():
    world = Plaza(7, cameras=len(MOUNTS), size_px=SMALL_PX)
    centre = np.array([[8.0, 6.0]])
    assert world.seeing(centre).all()
    assert len({view.name for view in world.views}) == 8
