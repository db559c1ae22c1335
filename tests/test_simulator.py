"""The simulator: exact about what cameras see, the same for the same seed, in the formats of everything else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoton.cli import app
from spoton.errors import InputError, SourceError
from spoton.offline.cameras_json import read_cameras
from spoton.offline.evaluate import evaluate
from spoton.offline.fusion_bench import parse_rows
from spoton.offline.fusion_bench import run as fusion_bench
from spoton.offline.mot_text import BoxRows, FloorRows, read_boxes, read_floor
from spoton.offline.recordings import read_site
from spoton.sim import cover
from spoton.sim.chance import normal, uniform
from spoton.sim.demo import WIDE, world_of
from spoton.sim.figure import JOINTS, joint_radii, joints_m
from spoton.sim.floor import SimulatedFloor
from spoton.sim.layout import hall_layout
from spoton.sim.looks import looks_of
from spoton.sim.noise import (
    Chance,
    Noise,
    NoisyDetector,
    errors_of,
    noise_text,
    normal_cdf,
    read_noise,
    shaken,
    usual_noise,
)  # fmt: skip
from spoton.sim.noise_fit import Watched, fit_noise
from spoton.sim.returns import returns
from spoton.sim.scenario import RIGS, Scenario, from_values
from spoton.sim.source import open_simulated
from spoton.sim.steering import near_pairs
from spoton.sim.throng import AWAY, ROAMING, advance, first_throng, habits_of
from spoton.sim.trouble import lost_frames, skews_s
from spoton.sim.visibility import seen_boxes
from spoton.sim.writing import LEAST_VISIBLE, write_simulation
from spoton.vision.sources import open_source

SMALL = Scenario(people=14, floor_m=(18.0, 12.0), cameras=3, rig="ring", size_px=(320, 240))
MADE = Noise(
    miss=Chance(-2.5, -0.8, 2.0), miss_tau_s=0.3, bias=(0.01, -0.02, 0.03, -0.01), sigma=(0.05, 0.03, 0.08, 0.04),
    tau_s=(0.2, 0.3, 0.1, 0.5), score=Chance(2.0, 0.5, -1.5), score_sigma=0.7, false_per_frame=0.6, false_s=0.4,
    false_near=0.3, false_height=-0.5, false_height_sigma=0.5, false_aspect=-1.2, false_aspect_sigma=0.3,
    false_score=-1.0, false_score_sigma=0.6,
)  # fmt: skip


def spoton(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spoton.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=150)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def floor() -> SimulatedFloor:
    return SimulatedFloor(SMALL)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "hall"
    write_simulation(SMALL, out, 6.0, None)
    return out


class TestExact:
    def test_boxes_are_the_body_model_projected_by_opencv(self, floor: SimulatedFloor) -> None:
        """Floor, height and gait go through OpenCV's projection, sphere by sphere, and give every written box."""
        checked = 0
        for n in (0, 17, 33):
            ids, sight = floor.sight(n)
            now, _ = floor.at(n / floor.fps)
            for person, camera, row, box in zip(ids, sight.camera, sight.row, sight.boxes_px, strict=True):
                view, looks = floor.views[camera], looks_of(SMALL.seed, int(person))
                assert now.ids[row] == person
                assert floor.height_m(int(person)) == looks.height_m
                height, build = np.array([looks.height_m]), np.array([looks.build])
                one = [getattr(now, name)[row : row + 1] for name in ("floor_m", "heading", "phase", "stride_m")]
                joints = joints_m(*one, height)[0]
                shown = np.array(
                    [
                        (not name.startswith("bag") or looks.bag is not None)
                        and (not name.startswith("hem") or looks.legs == "skirt")
                        and (name != "nape" or looks.long_hair)
                        for name in JOINTS
                    ]
                )
                rotation = cv2.Rodrigues(view.R)[0]
                px = cv2.projectPoints(joints, rotation, view.t, view.K, np.zeros(5))[0][:, 0]
                depth = (joints @ view.R.T + view.t)[:, 2]
                radius = (view.K[0, 0] * joint_radii(height, build)[0] / depth)[:, None]
                low = np.maximum((px - radius)[shown].min(axis=0), 0.0)
                high = np.minimum((px + radius)[shown].max(axis=0), view.size_px)
                np.testing.assert_allclose(box, [*low, *(high - low)], atol=1e-6)
                checked += 1
        assert checked > 60

    def test_a_box_spans_its_person_from_truth_alone(self, floor: SimulatedFloor) -> None:
        """Floor point and height, projected by OpenCV: the body's axis lies in the box, the box in a wide cylinder."""
        checked = 0
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        rim = 0.85 * np.stack((np.cos(turn), np.sin(turn)), axis=1)
        for n in range(0, 60, 6):
            ids, sight = floor.sight(n)
            places = dict(zip(*(part.tolist() for part in floor.truth(n)), strict=True))
            for person, camera, (x, y, w, h), visible in zip(
                ids, sight.camera, sight.boxes_px, sight.visible, strict=True
            ):
                if visible < 1.0 or int(person) not in places:
                    continue
                view, place, tall = floor.views[camera], np.array(places[int(person)]), floor.height_m(int(person))
                axis = np.column_stack((np.tile(place, (5, 1)), tall * np.linspace(0.15, 0.85, 5)))
                hull = [np.column_stack((place + rim, np.full(24, z))) for z in (0.0, 1.06 * tall)]
                points = np.concatenate((axis, *hull))
                px = cv2.projectPoints(points, cv2.Rodrigues(view.R)[0], view.t, view.K, np.zeros(5))[0][:, 0]
                assert ((px[:5] >= (x, y)) & (px[:5] <= (x + w, y + h))).all()
                low, high = px[5:].min(axis=0), px[5:].max(axis=0)
                assert ((low <= (x, y)) & (high >= (x + w, y + h))).all()
                checked += 1
        assert checked > 50

    def test_nobody_in_a_picture_is_left_out(self, floor: SimulatedFloor) -> None:
        for n in (3, 41):
            ids, sight = floor.sight(n)
            people, places = floor.truth(n)
            for camera, view in enumerate(floor.views):
                middle = np.column_stack((places, np.full(len(places), 1.0)))
                in_picture = set(people[view.sees(middle)].tolist())
                assert in_picture <= set(ids[sight.camera == camera].tolist())

    def test_visibility_is_near_that_of_painted_silhouettes(self, floor: SimulatedFloor) -> None:
        """Shares of boxes are no shares of silhouettes, but agree on who is hidden."""
        ours, painted = [], []
        for n in range(0, 60, 10):
            ids, sight = floor.sight(n)
            now, present = floor.at(n / floor.fps)
            here = np.flatnonzero(present)
            looks = [looks_of(SMALL.seed, int(person)) for person in now.ids[here]]
            heights, builds = (np.array([getattr(one, key) for one in looks]) for key in ("height_m", "build"))
            joints = joints_m(now.floor_m[here], now.heading[here], now.phase[here], now.stride_m[here], heights)
            for camera in range(len(floor.views)):
                renderer = floor._renderer(camera)
                dress = floor._bodies.dress(now.ids[here])
                rows, _, visible = seen_boxes(renderer, joints, joint_radii(heights, builds), dress)
                share = dict(zip(now.ids[here][rows].tolist(), visible, strict=True))
                mine = sight.camera == camera
                for person, seen in zip(ids[mine].tolist(), sight.visible[mine], strict=True):
                    ours.append(seen)
                    painted.append(share.get(person, 0.0))
        assert len(ours) > 100
        assert np.corrcoef(ours, painted)[0, 1] > 0.9
        assert np.mean(np.abs(np.array(ours) - painted)) < 0.1

    def test_pictures_show_people_where_their_boxes_are(self, floor: SimulatedFloor) -> None:
        """What moves between two pictures lies in the boxes of one or the other, shadows left out by a wide margin."""
        inside = moved = 0
        for camera in range(len(floor.views)):
            before, after = (floor.picture(n, camera).astype(int) for n in (10, 25))
            changed = np.abs(before - after).max(axis=2) > 90
            mask = np.zeros(changed.shape, dtype=bool)
            for n in (10, 25):
                _, sight = floor.sight(n)
                for x, y, w, h in sight.boxes_px[sight.camera == camera]:
                    mask[int(y) : int(np.ceil(y + h)) + 1, int(x) : int(np.ceil(x + w)) + 1] = True
            inside, moved = inside + int((changed & mask).sum()), moved + int(changed.sum())
        assert moved > 500
        assert inside / moved > 0.97


class TestCover:
    def test_two_boxes_by_hand(self) -> None:
        boxes = np.array([[0.0, 0.0, 10.0, 20.0], [5.0, 0.0, 15.0, 20.0], [40.0, 0.0, 50.0, 20.0]])
        seen = np.full(3, cover.FULL)
        np.testing.assert_allclose(cover.visible(boxes, np.array([1, 0, 2]), seen, np.zeros(3, int)), [0.5, 1.0, 1.0])
        # In other pictures nobody hides anybody.
        np.testing.assert_allclose(cover.visible(boxes, np.array([1, 0, 2]), seen, np.arange(3)), 1.0)
        picture = np.tile((0.0, 0.0, 100.0, 10.0), (3, 1))
        np.testing.assert_allclose(
            cover.visible(boxes, np.array([1, 0, 2]), cover.bits(boxes, picture), np.zeros(3, int)), [0.25, 0.5, 0.5]
        )

    @given(st.integers(0, 10_000))
    @settings(max_examples=40, deadline=None)
    def test_agrees_with_counting_points(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        low = rng.uniform(0, 60, (7, 2))
        boxes = np.concatenate((low, low + rng.uniform(3, 40, (7, 2))), axis=1)
        order = rng.permutation(7)
        found = cover.visible(boxes, order, np.full(7, cover.FULL), np.zeros(7, int))
        for k, (x0, y0, x1, y1) in enumerate(boxes):
            x, y = (np.arange(8) + 0.5) / 8 * (x1 - x0) + x0, (np.arange(8) + 0.5) / 8 * (y1 - y0) + y0
            free = np.ones((8, 8), dtype=bool)
            for other in np.flatnonzero(order < order[k]):
                a, b, c, d = boxes[other]
                free &= ~(((x >= a) & (x < c)) & ((y >= b) & (y < d))[:, None])
            assert found[k] == pytest.approx(free.mean())


class TestWalkers:
    def test_chance_is_uniform_normal_and_the_same_for_all_who_ask(self) -> None:
        draws = uniform(3, np.arange(20_000))
        assert 0.0 <= draws.min() < draws.max() < 1.0
        assert np.histogram(draws, 10)[0] == pytest.approx(np.full(10, 2000), rel=0.08)
        assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.03
        assert uniform(3, np.array([777]))[0] == draws[777]
        assert (uniform(4, np.arange(100)) != draws[:100]).all()
        numbers = normal(3, np.arange(20_000))
        assert (numbers.mean(), numbers.std()) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.03))

    @given(st.integers(0, 1000), st.integers(0, 60), st.floats(0.3, 5.0))
    @settings(max_examples=40, deadline=None)
    def test_near_pairs_are_all_pairs_that_are_near(self, seed: int, count: int, reach: float) -> None:
        points = np.random.default_rng(seed).uniform(-20, 20, (count, 2))
        i, j = near_pairs(points, reach)
        apart = np.linalg.norm(points[:, None] - points[None], axis=2)
        want = np.argwhere((apart <= reach) & ~np.eye(count, dtype=bool))
        assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == [tuple(pair) for pair in want.tolist()]
        assert (np.diff(i) >= 0).all()

    @pytest.mark.parametrize("people", [25, 150])
    def test_they_walk_like_people_and_stay_where_one_can_walk(self, people: int) -> None:
        scenario = Scenario(people=people, floor_m=(24.0, 16.0))
        layout, habits = hall_layout(scenario.floor_m), habits_of(scenario)
        crowd = first_throng(scenario, habits, layout)
        speeds, nearest = [], []
        for _ in range(250):
            before, crowd = crowd, advance(crowd, scenario, habits, layout)
            both = before.present & crowd.present
            here = crowd.floor_m[crowd.present]
            assert layout.walkable(here, 0.2).all()
            step = np.linalg.norm(crowd.floor_m - before.floor_m, axis=1)[both]
            speeds.append(step / 0.2)
            i, j = near_pairs(here, 1.0)
            nearest.append(np.linalg.norm(here[i] - here[j], axis=1).min(initial=1.0))
        assert np.max(np.concatenate(speeds)) < 4.0
        assert np.quantile(np.concatenate(speeds), 0.99) < 2.2
        walking = np.concatenate(speeds)
        assert 0.7 < walking[walking > 0.3].mean() < 1.5
        assert np.quantile(nearest, 0.1) > 0.2

    def test_some_leave_and_come_back_as_themselves_and_others_are_new(self) -> None:
        for share, back in ((0.0, False), (1.0, True)):
            scenario = Scenario(people=20, floor_m=(14.0, 12.0), returns=share)
            layout, habits = hall_layout(scenario.floor_m), habits_of(scenario)
            crowd, gone, again = first_throng(scenario, habits, layout), set(), 0
            for _ in range(700):
                before, crowd = crowd, advance(crowd, scenario, habits, layout)
                left = before.present & ~crowd.present
                assert (crowd.stage[left] == AWAY).all()
                came = ~before.present & crowd.present
                again += len(gone & set(crowd.person[came].tolist()))
                gone |= set(crowd.person[left].tolist())
            assert len(gone) >= 10
            assert (again > 0) == back
            assert (crowd.next_person == 21) == back

    def test_groups_hold_together_and_crowding_draws_people_to_few_places(self) -> None:
        def spread(groups: float, crowding: float) -> tuple[float, float]:
            scenario = Scenario(people=60, floor_m=(40.0, 30.0), groups=groups, crowding=crowding)
            layout, habits = hall_layout(scenario.floor_m), habits_of(scenario)
            crowd = first_throng(scenario, habits, layout)
            mate, lonely = [], []
            for _ in range(200):
                crowd = advance(crowd, scenario, habits, layout)
                i, _ = near_pairs(crowd.floor_m[crowd.present], 3.0)
                lonely.append(len(i) / crowd.present.sum())
                for k in np.unique(habits.group):
                    mates = (habits.group == k) & (crowd.stage == ROAMING)
                    if mates.sum() > 1:
                        mate.append(
                            np.linalg.norm(crowd.floor_m[mates] - crowd.floor_m[mates].mean(axis=0), axis=1).max()
                        )
            return (float(np.median(mate)) if mate else np.inf), float(np.mean(lonely))

        assert spread(1.0, 0.0)[0] < 1.5
        assert spread(0.0, 0.0)[0] == np.inf
        assert spread(0.0, 1.0)[1] > 1.35 * spread(0.0, 0.0)[1]


class TestSameForTheSameSeed:
    def test_a_folder_byte_for_byte(self, tmp_path: Path) -> None:
        scenario = Scenario(people=8, floor_m=(14.0, 10.0), cameras=2, size_px=(160, 120), dropout=0.2, skew_ms=80)
        for name in ("one/hall", "two/hall"):
            write_simulation(scenario, tmp_path / name, 1.0, MADE, "jpeg")
        one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
        assert one == two
        write_simulation(
            Scenario(seed=8, people=8, floor_m=(14.0, 10.0), cameras=2, size_px=(160, 120)),
            tmp_path / "three/hall",
            1.0,
            MADE,
        )
        assert contents(tmp_path / "three")["hall/gt/world.txt"] != one["hall/gt/world.txt"]

    def test_a_frame_does_not_depend_on_what_was_asked_before(self) -> None:
        straight, jumping = SimulatedFloor(SMALL), SimulatedFloor(SMALL)
        seen = {n: straight.sight(n) for n in (0, 5, 400)}
        for n in (400, 0, 5):
            ids, sight = jumping.sight(n)
            np.testing.assert_array_equal(ids, seen[n][0])
            np.testing.assert_array_equal(sight.boxes_px, seen[n][1].boxes_px)
            np.testing.assert_array_equal(sight.visible, seen[n][1].visible)
        np.testing.assert_array_equal(straight.picture(7, 1), jumping.picture(7, 1))

    def test_a_floor_by_its_url_is_the_same_floor(self) -> None:
        scenario = Scenario(people=9, floor_m=(15.5, 10.0), cameras=2, rig="grid", size_px=(160, 120), skew_ms=40.0)
        world = SimulatedFloor(scenario)
        now = [1_000_000]
        camera = open_simulated(
            world.url(1, 1_000_000),
            clock_us=lambda: now[0],
            wait_s=lambda s: now.__setitem__(0, now[0] + round(s * 1e6)),
        )
        frames = camera.frames()
        for n in range(3):
            frame = next(frames)
            assert (frame.index, frame.at_us) == (n, 1_000_000 + 100_000 * n)
            np.testing.assert_array_equal(frame.picture, world.picture(n, 1))
        camera.close()

    @pytest.mark.parametrize("rig", RIGS)
    def test_every_scenario_survives_its_query(self, rig: str) -> None:
        scenario = Scenario(seed=3, people=5, floor_m=(20.5, 9.25), cameras=8, rig=rig, fps=12.5, dropout=0.1)
        pairs = dict(pair.split("=") for pair in scenario.query().split("&"))
        assert from_values(pairs) == scenario


class TestTrouble:
    def test_a_clock_that_is_off_shows_the_world_of_another_moment(self) -> None:
        plain = SimulatedFloor(SMALL)
        skewed = SimulatedFloor(Scenario(**{**as_dict(SMALL), "skew_ms": 700.0}))
        assert np.abs(skewed.skew_s).max() <= 0.7
        assert len(set(skewed.skew_s.tolist())) == SMALL.cameras
        np.testing.assert_array_equal(plain.truth(30)[1], skewed.truth(30)[1])
        for camera, skew in enumerate(skewed.skew_s):
            ids, sight = skewed.sight(30)
            then, _ = plain.at(3.0 + skew)
            view = plain.views[camera]
            mine = sight.camera == camera
            assert mine.any()
            for person, box, visible in zip(ids[mine], sight.boxes_px[mine], sight.visible[mine], strict=True):
                if visible < 1.0:
                    continue
                place = then.floor_m[then.ids == person][0]
                px, _ = view.project(np.array([[*place, 1.0]]))
                assert box[0] < px[0, 0] < box[0] + box[2]
                assert box[1] < px[0, 1] < box[1] + box[3]

    def test_skews_fill_their_range(self) -> None:
        skews = skews_s(Scenario(cameras=400, skew_ms=100.0))
        assert (skews.min(), skews.max()) == (pytest.approx(-0.1, abs=0.005), pytest.approx(0.1, abs=0.005))
        assert abs(skews.mean()) < 0.01

    @pytest.mark.parametrize(("share", "length_s"), [(0.2, 0.0), (0.1, 2.0), (0.5, 1.0)])
    def test_drop_outs_are_as_many_and_as_long_as_asked(self, share: float, length_s: float) -> None:
        scenario = Scenario(cameras=40, dropout=share, dropout_s=length_s)
        lost = np.stack([lost_frames(scenario, k, 6000) for k in range(40)])
        assert lost.mean() == pytest.approx(share, rel=0.1)
        edges = np.diff(np.pad(lost.astype(int), ((0, 0), (1, 1))), axis=1)
        mean = lost.sum() / (edges == 1).sum()
        assert mean == pytest.approx(max(1.0 / (1.0 - share), length_s * 10), rel=0.12)
        np.testing.assert_array_equal(lost_frames(scenario, 3, 100), lost[3, :100])

    def test_frames_that_never_came_have_no_detections_but_truth(self, tmp_path: Path) -> None:
        scenario = Scenario(**{**as_dict(SMALL), "dropout": 0.3, "dropout_s": 0.5})
        write_simulation(scenario, tmp_path / "hall", 5.0, None, "jpeg")
        said = json.loads((tmp_path / "hall" / "simulation.json").read_text())
        for camera, stretches in said["lost_frames"].items():
            lost = {n for first, last in stretches for n in range(first, last + 1)}
            assert lost
            det = read_boxes(tmp_path / "hall" / "det" / f"{camera}.txt")
            gt = read_boxes(tmp_path / "hall" / "gt" / f"{camera}.txt")
            assert not lost & set(det.frames.tolist())
            assert set(gt.frames.tolist()) == set(range(1, 51))
            frames = [frame.index + 1 for frame in open_source(str(tmp_path / "hall" / "pictures" / camera)).frames()]
            assert frames == sorted(set(range(1, 51)) - lost)


def as_dict(scenario: Scenario) -> dict[str, object]:
    return {name: getattr(scenario, name) for name in Scenario.__dataclass_fields__}


class TestNoise:
    def test_a_fit_recovers_the_model_that_it_was_made_with(self) -> None:
        """Boxes far from one another and from the edge, so that only the model's own chance is at work."""
        people, frames, fps = 12, 2500, 10.0
        sizes = np.array([[2400.0, 1200.0]])
        rng = np.random.default_rng(5)
        height = 120.0 * 2.0 ** rng.uniform(-1, 1, people)
        boxes = np.column_stack((80 + 190.0 * np.arange(people), 900 - height, 0.4 * height, height))
        visible = rng.uniform(0.3, 1.0, people)
        row, ids = np.arange(people), np.arange(1, people + 1)
        detector = NoisyDetector(MADE, 3, sizes, people, fps)
        found = []
        for n in range(frames):
            one = detector.detect(np.zeros(people, int), row, ids, boxes, visible)
            found.append(np.column_stack((np.full(len(one.scores), n + 1), one.boxes_px, one.scores)))
        table = np.concatenate(found)
        said = BoxRows(table[:, 0].astype(int), np.full(len(table), -1), table[:, 1:5], table[:, 5])
        truth = BoxRows(
            np.repeat(np.arange(1, frames + 1), people), np.tile(ids, frames), np.tile(boxes, (frames, 1)),
            np.ones(frames * people),
        )  # fmt: skip
        fitted = fit_with_visibility(truth, said, np.tile(visible, frames), fps)
        for name in ("intercept", "per_doubling", "per_occlusion"):
            assert getattr(fitted.miss, name) == pytest.approx(getattr(MADE.miss, name), abs=0.3)
            assert getattr(fitted.score, name) == pytest.approx(getattr(MADE.score, name), abs=0.08)
        assert fitted.bias == pytest.approx(MADE.bias, abs=0.005)
        assert fitted.sigma == pytest.approx(MADE.sigma, rel=0.06)
        assert fitted.tau_s == pytest.approx(MADE.tau_s, rel=0.12)
        assert fitted.miss_tau_s == pytest.approx(MADE.miss_tau_s, rel=0.25)
        assert fitted.score_sigma == pytest.approx(MADE.score_sigma, rel=0.06)
        assert fitted.false_per_frame == pytest.approx(MADE.false_per_frame, rel=0.15)
        assert fitted.false_s == pytest.approx(MADE.false_s, rel=0.2)
        assert fitted.false_near == pytest.approx(MADE.false_near, abs=0.12)
        assert fitted.false_height == pytest.approx(MADE.false_height, abs=0.1)
        assert fitted.false_height_sigma == pytest.approx(MADE.false_height_sigma, rel=0.15)
        assert fitted.false_aspect == pytest.approx(MADE.false_aspect, abs=0.05)
        assert fitted.false_score == pytest.approx(MADE.false_score, abs=0.1)

    def test_what_hides_people_is_told_from_the_boxes(self) -> None:
        """The whole way over a simulated floor, occlusion and picture edges included: the same people are missed."""
        scenario = Scenario(people=30, floor_m=(24.0, 16.0), cameras=4, rig="ring")
        floor = SimulatedFloor(scenario)
        sizes = np.tile((640.0, 480.0), (4, 1))
        detector = NoisyDetector(MADE, 3, sizes, 30, 10.0)
        truth, found = [], []
        for n in range(300):
            ids, sight = floor.sight(n)
            one = detector.detect(sight.camera, sight.row, ids, sight.boxes_px, sight.visible)
            truth.append(np.column_stack((sight.camera, np.full(len(ids), n + 1), ids, sight.boxes_px, ids > 0)))
            found.append(
                np.column_stack(
                    (one.camera, np.full(len(one.scores), n + 1), -1 + 0 * one.scores, one.boxes_px, one.scores)
                )
            )
        watched = [Watched(rows(truth, k), rows(found, k), (640, 480)) for k in range(4)]
        fitted = fit_noise(watched, 10.0, 0.05, {})
        height, seen = np.full(5, 0.2), np.array([1.0, 0.8, 0.6, 0.4, 0.2])
        was, is_now = (1 / (1 + np.exp(-model.miss.of(height, seen))) for model in (MADE, fitted))
        np.testing.assert_allclose(is_now, was, atol=0.08)
        assert fitted.sigma == pytest.approx(MADE.sigma, rel=0.1)
        assert fitted.tau_s == pytest.approx(MADE.tau_s, rel=0.2)

    def test_shaking_a_box_and_measuring_the_shake_are_inverse(self) -> None:
        rng = np.random.default_rng(0)
        boxes, errors = rng.uniform(5, 90, (50, 4)), rng.normal(0, 0.2, (50, 4))
        np.testing.assert_allclose(errors_of(boxes, shaken(boxes, errors)), errors, atol=1e-12)

    def test_the_normal_distribution(self) -> None:
        np.testing.assert_allclose(normal_cdf(np.array([-1.96, 0.0, 1.0])), [0.0249979, 0.5, 0.8413447], atol=1e-6)

    def test_models_survive_their_file_and_the_shipped_one_says_where_it_is_from(self, tmp_path: Path) -> None:
        (tmp_path / "noise.toml").write_text(noise_text(MADE))
        again = read_noise(tmp_path / "noise.toml")
        assert noise_text(again) == noise_text(MADE)
        assert again.miss == MADE.miss
        shipped = usual_noise()
        assert shipped.fitted["detector"] == "picodet-s"
        assert int(shipped.fitted["true_boxes"]) > 1000

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("score_sigma = 0.7", "score_sigma = -1.0", "score_sigma"),
            ("miss_tau_s", "mis_tau_s", "mis_tau_s"),
            ("false_near = 0.3", "false_near = 1.3", "false_near"),
            ("score_min = 0.05", "score_min = 0.0", "score_min"),
        ],
    )
    def test_a_wrong_file_is_named_with_its_key(self, tmp_path: Path, old: str, new: str, said: str) -> None:
        text = noise_text(MADE)
        assert old in text
        (tmp_path / "noise.toml").write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=said):
            read_noise(tmp_path / "noise.toml")

    def test_too_little_to_fit_is_an_error(self) -> None:
        none = BoxRows(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0))
        with pytest.raises(InputError, match="too few"):
            fit_noise([Watched(none, none, (10, 10))], 10.0, 0.1, {})


def rows(parts: list[np.ndarray], camera: int) -> BoxRows:
    table = np.concatenate(parts)
    table = table[table[:, 0] == camera]
    return BoxRows(table[:, 1].astype(int), table[:, 2].astype(int), table[:, 3:7], table[:, 7])


def fit_with_visibility(truth: BoxRows, found: BoxRows, visible: np.ndarray, fps: float) -> Noise:
    """The fit of boxes whose visibility is known, not derived."""
    from spoton.sim import noise_fit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise_fit, "visibility", lambda rows, size_px: visible)
        return fit_noise([Watched(truth, found, (2400, 1200))], fps, 0.05, {})


class TestFolder:
    def test_our_own_readers_read_it_back(self, written: Path, floor: SimulatedFloor) -> None:
        cameras = read_cameras(written / "cameras.json", 10.0)
        site = read_site(written / "site.toml")
        assert {one.name for one in cameras} == {one.name for one in site.cameras} == {v.name for v in floor.views}
        for one in site.cameras:
            view = next(view for view in floor.views if view.name == one.name)
            assert one.calibration is not None
            np.testing.assert_allclose(one.calibration.K, view.K, atol=1e-6)
            np.testing.assert_allclose(one.calibration.t, view.t, atol=1e-6)
        world = read_floor(written / "gt" / "world.txt")
        for n in (0, 31, 59):
            ids, floor_m = floor.truth(n)
            np.testing.assert_array_equal(world.ids[world.frames == n + 1], ids)
            np.testing.assert_allclose(world.floor_m[world.frames == n + 1], floor_m, atol=6e-5)
        ids, sight = floor.sight(31)
        for k, view in enumerate(floor.views):
            truth = read_boxes(written / "gt" / f"{view.name}.txt")
            here, mine = truth.frames == 32, sight.camera == k
            np.testing.assert_array_equal(truth.ids[here], ids[mine])
            np.testing.assert_allclose(truth.boxes_px[here], sight.boxes_px[mine], atol=6e-3)
            np.testing.assert_array_equal(truth.scores[here], sight.visible[mine] >= LEAST_VISIBLE)
            column = np.loadtxt(written / "gt" / f"{view.name}.txt", delimiter=",")
            np.testing.assert_allclose(column[column[:, 0] == 32][:, 8], sight.visible[mine], atol=6e-4)
            found = read_boxes(written / "det" / f"{view.name}.txt")
            assert (found.ids == -1).all()
            assert (found.frames == 32).sum() == (sight.visible[mine] >= LEAST_VISIBLE).sum()
        assert json.loads((written / "area.json").read_text()) == floor.area_m.tolist()

    def test_it_can_be_tracked_scored_and_benched_at_once(self, written: Path, tmp_path: Path) -> None:
        tracked = spoton(
            "track",
            "--detections",
            written / "det",
            "--site",
            written / "site.toml",
            "--fps",
            10,
            "--out",
            tmp_path / "t",
        )
        assert tracked.returncode == 0, tracked.stderr
        result = evaluate(written / "gt", tmp_path / "t", written / "area.json")
        assert result["missing"] == []
        assert result["mean"]["mota"] > 80
        assert result["files"]["world.txt"]["error_median_m"] < 0.2
        assert result["files"]["world.txt"]["idf1"] > 40
        benched = fusion_bench(tmp_path, rows=parse_rows([f"{written}=10"]), sizes=())
        assert benched["missing"] == []
        assert next(iter(benched["rows"].values()))["ours"]["truth"] > 300

    def test_videos_and_pictures_are_what_the_site_file_points_to(self, tmp_path: Path) -> None:
        scenario = Scenario(people=5, floor_m=(12.0, 10.0), cameras=2, size_px=(160, 120))
        floor = SimulatedFloor(scenario)
        for kind in ("jpeg", "video"):
            write_simulation(scenario, tmp_path / kind, 0.5, None, kind)
            site = read_site(tmp_path / kind / "site.toml")
            for k, camera in enumerate(site.cameras):
                frames = list(open_source(site.resolve(camera.source), fps=camera.fps).frames())
                assert [frame.at_us for frame in frames] == [0, 100_000, 200_000, 300_000, 400_000]
                for frame in frames:
                    apart = np.abs(frame.picture.astype(int) - floor.picture(frame.index, k))
                    assert apart.mean() < 6

    def test_a_hundred_cameras_and_a_thousand_people(self, tmp_path: Path) -> None:
        scenario = Scenario(people=1000, floor_m=(60.0, 40.0), cameras=100, size_px=(640, 480), skew_ms=30.0)
        result = write_simulation(scenario, tmp_path / "big", 0.3, usual_noise())
        assert result["frames"] == 3
        assert len(list((tmp_path / "big" / "det").iterdir())) == 100
        world = read_floor(tmp_path / "big" / "gt" / "world.txt")
        assert (np.bincount(world.frames)[1:] > 950).all()
        assert result["truth_boxes"] > 3 * 5000

    def test_nobody_and_nothing_is_a_folder_too(self, tmp_path: Path) -> None:
        write_simulation(Scenario(people=0, cameras=2), tmp_path / "empty", 0.5, usual_noise())
        assert len(read_floor(tmp_path / "empty" / "gt" / "world.txt").frames) == 0
        assert len(read_boxes(tmp_path / "empty" / "gt" / "c01.txt").frames) == 0


class TestRigs:
    @pytest.mark.parametrize(
        ("rig", "floor_m", "cameras", "least"),
        [("grid", (60.0, 40.0), 100, 0.97), ("grid", (24.0, 16.0), 6, 0.6), ("corridor", (60.0, 6.0), 8, 0.7),
         ("ring", (24.0, 16.0), 8, 0.7), ("grid", (20.0, 20.0), 1, 0.1)],
    )  # fmt: skip
    def test_cameras_stand_on_the_floor_and_see_most_of_it(
        self, rig: str, floor_m: tuple[float, float], cameras: int, least: float
    ) -> None:
        floor = SimulatedFloor(Scenario(people=0, rig=rig, floor_m=floor_m, cameras=cameras))
        assert len({view.name for view in floor.views}) == cameras
        for view in floor.views:
            x, y, z = view.place_m()
            assert 0 < x < floor_m[0]
            assert 0 < y < floor_m[1]
            assert z == pytest.approx(4.5)
        seen = floor.seeing(grid_of(floor_m)).any(axis=1).mean()
        assert seen > least

    def test_of_eight_cameras_two_pairs_do_not_overlap_and_there_are_blind_gaps(self) -> None:
        floor = SimulatedFloor(WIDE)
        names = [view.name for view in floor.views]
        points = grid_of(WIDE.floor_m)
        parts = [np.column_stack((points, np.full(len(points), z))) for z in (0.0, 0.9, 1.75)]
        glimpses = np.stack([np.any([view.sees(part) for part in parts], axis=0) for view in floor.views], axis=1)
        for side in ("west", "east"):
            north, south = names.index(f"{side}-north"), names.index(f"{side}-south")
            assert not (glimpses[:, north] & glimpses[:, south]).any()
            assert glimpses[:, north].mean() > 0.05
        middle = [k for k, name in enumerate(names) if name.startswith("centre")]
        assert (floor.seeing(points)[:, middle].sum(axis=1) >= 3).mean() > 0.1
        assert 0.05 < (~glimpses.any(axis=1)).mean() < 0.3


def grid_of(floor_m: tuple[float, float]) -> np.ndarray:
    x, y = np.meshgrid(np.arange(0.3, floor_m[0], 0.4), np.arange(0.3, floor_m[1], 0.4))
    return np.column_stack((x.ravel(), y.ravel()))


class TestReturns:
    def test_counts_by_hand(self) -> None:
        """Person 1 comes back as herself, 2 as somebody else, 3 unfound; 4 changes while in view."""
        visit, second = np.arange(1, 31), np.arange(61, 91)
        both = np.concatenate((visit, second))
        truth = FloorRows(
            np.tile(both, 4), np.repeat([1, 2, 3, 4], 60), np.repeat([[0.0, 0.0], [5, 0], [10, 0], [15, 0]], 60, axis=0)
        )
        given_ids = np.concatenate(
            (np.full(60, 11), np.full(30, 12), np.full(30, 13), np.full(30, 14), np.full(10, 15), np.full(50, 16))
        )
        kept = np.ones(240, dtype=bool)
        kept[150:180] = False
        ids = np.zeros(240, dtype=int)
        ids[kept] = given_ids
        found = FloorRows(truth.frames[kept], ids[kept], truth.floor_m[kept] + 0.1)
        counted = returns(truth, truth, found, 10.0)
        assert (counted.returns, counted.same, counted.unmatched) == (4, 2, 1)
        assert (counted.switches_on_return, counted.switches_in_view) == (1, 1)
        assert counted.rank1 == 0.5

    def test_no_return_is_no_figure(self) -> None:
        rows = FloorRows(np.arange(1, 50), np.ones(49, int), np.zeros((49, 2)))
        assert returns(rows, rows, rows, 10.0).rank1 is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "--out is missing", id="no folder"),
        pytest.param(["--out", "x", "--people", "-1"], "people = -1", id="fewer than nobody"),
        pytest.param(["--out", "x", "--people", "5000", "--floor", "10x10"], "at most", id="too crowded"),
        pytest.param(["--out", "x", "--floor", "60"], "as in 60x40", id="half a floor"),
        pytest.param(["--out", "x", "--floor", "nanx40"], "floor = nanx40", id="no number"),
        pytest.param(["--out", "x", "--rig", "star"], "grid, corridor, ring", id="unknown rig"),
        pytest.param(["--out", "x", "--rig", "gaps", "--cameras", "4"], "8 cameras", id="a rig of its own number"),
        pytest.param(["--out", "x", "--seconds", "0"], "seconds = 0", id="no time"),
        pytest.param(["--out", "x", "--dropout", "1.5"], "dropout = 1.5", id="more than all"),
        pytest.param(["--out", "x", "--noise", "nowhere.toml"], "nowhere.toml", id="no such noise"),
        pytest.param(["--out", "x", "--pictures", "gif"], "none, jpeg, video", id="unknown pictures"),
        pytest.param(["--out", "/proc/none/x"], "cannot be written", id="nowhere to write"),
        pytest.param(["--out", "/usr"], "not empty", id="somebody else's folder"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_met_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        app(["sim", *arguments], standalone_mode=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_the_command_writes_a_folder_says_how_fast_and_fits_noise_back(tmp_path: Path) -> None:
    made = tmp_path / "noise.toml"
    made.write_text(noise_text(MADE))
    out = tmp_path / "hall"
    ran = spoton(
        "sim",
        "--out",
        out,
        "--floor",
        "16x12",
        "--people",
        20,
        "--cameras",
        2,
        "--seconds",
        20,
        "--noise",
        made,
        "--json",
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert (result["frames"], result["cameras"]) == (200, 2)
    assert result["frames_per_second"] > 0
    again = spoton("sim", "--out", out)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    fitted = spoton(
        "sim", "fit-noise", out / "gt", out / "det", "--fps", 10, "--score-min", 0.05, "--out", tmp_path / "back.toml"
    )
    assert fitted.returncode == 0, fitted.stderr
    assert read_noise(tmp_path / "back.toml").sigma == pytest.approx(MADE.sigma, rel=0.25)
    helped = spoton("sim", "--help")
    assert "Example: spoton sim --out hall" in helped.stdout


@pytest.mark.parametrize("url", ["sim://floor?camera=9&cameras=2", "sim://floor?people=x", "sim://floor?colour=1"])
def test_a_url_of_no_floor_is_an_error(url: str) -> None:
    with pytest.raises(SourceError, match=re.escape(url)):
        open_simulated(url, clock_us=lambda: 0)


def test_the_demo_has_two_sites() -> None:
    from spoton.sim.demo import Wishes

    def wishes(cameras: int, people: int | None = None) -> Wishes:
        return Wishes(
            seconds=1.0, headless=True, as_json=True, people=people, seed=7, port=None, data=None, detector="built-in",
            cameras=cameras,
        )  # fmt: skip

    assert (len(world_of(wishes(4)).views), world_of(wishes(4)).people) == (4, 12)
    assert (len(world_of(wishes(8)).views), world_of(wishes(8)).people) == (8, 30)
    assert world_of(wishes(8, 12)).people == 12
    with pytest.raises(InputError, match="--cameras = 5"):
        world_of(wishes(5))
