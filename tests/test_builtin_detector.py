"""The built-in detector: people out of a fixed camera's pictures, and nothing out of light, noise and shadows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from spoton.errors import InputError
from spoton.offline.average_precision import average_precision, intersection_over_union
from spoton.offline.detection_bench import run
from spoton.sim.plaza import Plaza
from spoton.vision.builtin_detector import BuiltinDetector
from spoton.vision.person_size import PersonSize

SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).parents[2] / "shared"))
WIDTH, HEIGHT = 320, 240
TALL = 80
DRESSED = ((40, 60, 160), (60, 40, 30))


class Yard:
    """A textured yard before a fixed camera with a noisy sensor; people are drawn where a test wants them."""

    def __init__(self, seed: int = 1, noise: float = 3.0) -> None:
        self.random = np.random.default_rng(seed)
        texture = cv2.GaussianBlur(self.random.normal(0, 125, (HEIGHT, WIDTH, 3)), (0, 0), 3)
        self.ground = np.clip(150 + texture, 60, 230)
        self.noise = noise

    def picture(
        self,
        *people: tuple[float, float],
        gain: float = 1.0,
        shadow: float = 0.0,
        dressed: tuple = DRESSED,
    ) -> np.ndarray:
        """People by foot point; ``shadow`` is the length of a shadow to the right in heights of a person."""
        canvas = self.ground.copy()
        for x, y in people:
            if shadow:
                shade = np.zeros(canvas.shape[:2], np.uint8)
                length = round(shadow * TALL)
                cv2.ellipse(shade, (round(x) + length // 2, round(y)), (length // 2, 7), 0, 0, 360, 255, -1)
                canvas[shade > 0] *= 0.6
        for x, y in people:
            self.draw(canvas, x, y, dressed)
        shot = canvas * gain + self.random.normal(0, self.noise, canvas.shape)
        return np.clip(shot, 0, 255).astype(np.uint8)

    @staticmethod
    def draw(canvas: np.ndarray, x: float, y: float, dressed: tuple) -> None:
        coat, trousers = dressed
        top = y - TALL
        for dx in (-6, 6):
            cv2.line(canvas, (round(x), round(top + 0.5 * TALL)), (round(x + dx), round(y) - 4), trousers, 7)
        cv2.ellipse(canvas, (round(x), round(top + 0.35 * TALL)), (11, 19), 0, 0, 360, coat, -1)
        cv2.circle(canvas, (round(x), round(top + 7)), 7, (190, 150, 130), -1)


def box(x: float, y: float) -> np.ndarray:
    """Where a person with these feet is in the picture."""
    return np.array([[x - 11.0, y - TALL, 22.0, TALL]])


def standing(tall: np.ndarray, aside: np.ndarray | float = 0.0) -> np.ndarray:
    """How people of these heights (N,) in pixels appear who are seen from the side."""
    return np.stack([np.broadcast_to(aside, tall.shape), tall, tall], axis=1)


def level(feet_px: np.ndarray) -> np.ndarray:
    return standing(np.full(len(feet_px), float(TALL)))


def emptied(detector: BuiltinDetector, yard: Yard, frames: int = 12) -> BuiltinDetector:
    """The detector after it has seen the empty yard."""
    for _ in range(frames):
        detector.detect([yard.picture()])
    return detector


def test_a_person_is_found_where_they_are():
    yard, detector = Yard(), BuiltinDetector(standing_px=level)
    emptied(detector, yard)
    for step in range(20):
        foot = (40 + 8 * step, 180)
        found = detector.detect([yard.picture(foot)])[0]
        assert len(found) == 1
        assert intersection_over_union(found.boxes_px, box(*foot))[0, 0] > 0.7
        assert abs(found.boxes_px[0, 1] + found.boxes_px[0, 3] - 180) <= 3
        assert 0.4 < found.scores[0] <= 1.0


def test_an_empty_yard_stays_empty():
    yard, detector = Yard(noise=6.0), BuiltinDetector()
    assert sum(len(detector.detect([yard.picture()])[0]) for _ in range(40)) == 0


def test_light_may_change_slowly_and_exposure_at_once():
    yard, detector = Yard(), emptied(BuiltinDetector(standing_px=level), Yard())
    gains = [*np.linspace(1.0, 0.7, 60), *[0.85] * 10, *[1.1] * 10]
    assert sum(len(detector.detect([yard.picture(gain=gain)])[0]) for gain in gains) == 0
    assert len(detector.detect([yard.picture((100, 180), gain=1.1)])[0]) == 1


def test_a_shadow_belongs_to_nobody():
    yard, detector = Yard(), BuiltinDetector(standing_px=level)
    emptied(detector, yard)
    for x in range(60, 160, 10):
        found = detector.detect([yard.picture((x, 180), shadow=1.2)])[0]
        assert len(found) == 1
        assert intersection_over_union(found.boxes_px, box(x, 180))[0, 0] > 0.6


def test_who_stands_there_from_the_start_is_found_when_they_leave_and_leaves_no_ghost():
    yard, detector = Yard(), BuiltinDetector(standing_px=level)
    for _ in range(10):
        detector.detect([yard.picture((80, 180))])
    walk = [(80 + 6 * step, 180) for step in range(20)]
    counts = []
    for foot in walk:
        found = detector.detect([yard.picture(foot)])[0]
        counts.append(len(found))
    assert intersection_over_union(found.boxes_px, box(*walk[-1])).max() > 0.6
    assert counts[-5:] == [1] * 5


def test_people_who_walk_at_the_start_are_found_within_two_seconds():
    yard, detector = Yard(), BuiltinDetector(standing_px=level, fps=10.0)
    for frame in range(60):
        feet = [(40 + 3 * frame, 150), (280 - 3 * frame, 220)]
        found = detector.detect([yard.picture(*feet)])[0]
        if frame >= 20 and abs(feet[0][0] - feet[1][0]) > 30:
            assert len(found) == 2, frame
            assert all(intersection_over_union(found.boxes_px, box(*foot)).max() > 0.6 for foot in feet)


@pytest.mark.parametrize("apart", [(16, 0), (24, 0), (12, -22), (-14, 18)])
def test_a_group_is_split_by_the_calibrated_size(apart):
    yard, detector = Yard(), BuiltinDetector(standing_px=level)
    emptied(detector, yard)
    for step in range(10):
        one = (100 + 6 * step, 180)
        other = (one[0] + apart[0], one[1] + apart[1])
        found = detector.detect([yard.picture(*sorted((one, other), key=lambda foot: foot[1]))])[0]
        assert len(found) == 2, (step, found.boxes_px)
        for foot in (one, other):
            assert intersection_over_union(found.boxes_px, box(*foot)).max() > 0.5


def test_somebody_who_leans_at_the_side_of_the_picture_is_one_person():
    yard = Yard()
    lean = np.float32([[1, -0.6, 0.6 * 180], [0, 1, 0]])

    def leaning(*people: tuple[float, float]) -> np.ndarray:
        return cv2.warpAffine(yard.picture(*people), lean, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)

    detector = BuiltinDetector(standing_px=lambda feet: standing(np.full(len(feet), float(TALL)), 0.6 * TALL))
    for _ in range(12):
        detector.detect([leaning()])
    counts = []
    for step in range(20):
        found = detector.detect([leaning((60 + 6 * step, 180))])[0]
        counts.append(len(found))
        feet, head = found.boxes_px[0, 0] + 11, found.boxes_px[0, :3:2].sum() - 8
        assert feet == pytest.approx(60 + 6 * step, abs=8)
        assert head == pytest.approx(60 + 6 * step + 0.6 * TALL, abs=8)
    assert counts == [1] * 20


def test_a_group_is_split_by_the_size_that_was_seen():
    yard, detector = Yard(), emptied(BuiltinDetector(), Yard())
    for step in range(30):
        detector.detect([yard.picture((30 + 8 * step, 130 + 3 * step))])
    found = detector.detect([yard.picture((150, 180), (172, 180))])[0]
    assert len(found) == 2
    assert intersection_over_union(found.boxes_px, box(150, 180)).max() > 0.5
    assert intersection_over_union(found.boxes_px, box(172, 180)).max() > 0.5


def test_who_stands_still_stays_for_long():
    yard, detector = Yard(), BuiltinDetector(standing_px=level, fps=10.0)
    emptied(detector, yard, 60)
    for x in range(20, 160, 10):
        detector.detect([yard.picture((x, 180))])
    counts = [len(detector.detect([yard.picture((160, 180))])[0]) for _ in range(60)]
    assert counts == [1] * 60


def test_a_large_picture_gives_boxes_in_its_own_pixels():
    yard = Yard()

    def large(*people: tuple[float, float]) -> np.ndarray:
        return cv2.resize(yard.picture(*people), (WIDTH * 4, HEIGHT * 4), interpolation=cv2.INTER_LINEAR)

    detector = BuiltinDetector(standing_px=lambda feet: 4.0 * level(feet))
    for _ in range(12):
        detector.detect([large()])
    found = detector.detect([large((100, 180))])[0]
    assert intersection_over_union(found.boxes_px, 4 * box(100, 180)).max() > 0.7


def test_another_picture_size_or_another_scene_starts_anew():
    yard, detector = Yard(), BuiltinDetector(standing_px=level)
    emptied(detector, yard)
    assert len(detector.detect([np.full((120, 160, 3), 90, np.uint8)])[0]) == 0
    emptied(detector, yard)
    assert len(detector.detect([np.roll(yard.picture(), (90, 130), axis=(0, 1))])[0]) == 0  # the camera was turned
    assert detector.detect([]) == []


def test_the_same_frames_give_the_same_boxes():
    yard = Yard()
    frames = [yard.picture((40 + 5 * step, 180), (200 - 5 * step, 200)) for step in range(30)]
    one, other = BuiltinDetector(), BuiltinDetector()
    together, singly = one.detect(frames), [other.detect([frame])[0] for frame in frames]
    for left, right in zip(together, singly, strict=True):
        assert np.array_equal(left.boxes_px, right.boxes_px)
        assert np.array_equal(left.scores, right.scores)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -5.0, 1e9])
def test_a_calibration_that_fails_somewhere_does_no_harm(odd):
    yard = Yard()
    detector = BuiltinDetector(standing_px=lambda feet: standing(np.where(feet[:, 0] < 160, TALL, odd)))
    emptied(detector, yard)
    assert len(detector.detect([yard.picture((80, 180))])[0]) == 1
    detector.detect([yard.picture((240, 180))])


def test_the_size_is_learnt_from_upright_figures():
    size = PersonSize((640, 480))
    assert not size.known
    random = np.random.default_rng(2)
    for _ in range(200):
        row = random.uniform(150, 450)
        height = (0.25 * row + 10) * random.normal(1.0, 0.05)
        size.saw(0.36 * height, height, row)
        size.saw(90, 60, row)  # a dog
        if random.random() < 0.15:
            size.saw(0.5 * height, 1.6 * height, row)  # two people, one behind the other
    assert size.known
    for row in (160, 300, 440):
        assert size.height(320, row) == pytest.approx(0.25 * row + 10, rel=0.06)


def plaza_frames(plaza: Plaza, camera: int, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for frame in range(frames):
        _, boxes_px, visible = plaza.boxes(frame, camera)
        yield plaza.picture(frame, camera), boxes_px, visible


def test_walkers_on_the_simulated_plaza_are_found():
    plaza = Plaza(seed=3, people=8)
    view = plaza.views[0]

    def expected(feet_px: np.ndarray) -> np.ndarray:
        rays = np.column_stack([(feet_px - view.K[:2, 2]) / np.diag(view.K)[:2], np.ones(len(feet_px))]) @ view.R
        place = view.place_m()
        ground = place + rays * (-place[2] / rays[:, 2])[:, None]
        head, _ = view.project(ground + np.array([0.0, 0.0, 1.72]))
        return standing(feet_px[:, 1] - head[:, 1], head[:, 0] - feet_px[:, 0])

    detector = BuiltinDetector(standing_px=expected)
    truth, found, scores, feet = [], [], [], []
    for picture, boxes_px, visible in plaza_frames(plaza, 0, 70):
        people = detector.detect([picture])[0]
        truth.append(boxes_px[visible >= 0.5])
        found.append(people.boxes_px)
        scores.append(people.scores)
        overlap = intersection_over_union(boxes_px[visible > 0.95], people.boxes_px)
        for row, best in zip(*np.nonzero(overlap >= 0.6), strict=True):
            bottom = boxes_px[visible > 0.95][row]
            feet.append(abs(people.boxes_px[best, [1, 3]].sum() - bottom[[1, 3]].sum()))
    assert average_precision(truth[20:], found[20:], scores[20:]) > 0.75
    assert np.median(feet) < 3.0


def test_real_video_from_its_first_frame_on():
    if not (SHARED / "data" / "pets09_s2l1").is_dir():
        pytest.skip(f"no PETS video under {SHARED}")
    result = run(SHARED, onnx_stride=30, frames=240)
    detectors = result["detectors"]
    assert detectors["built-in"]["frames"] == result["frames"] == 240
    assert detectors["built-in"]["ap50"] >= 0.65
    assert detectors["built-in"]["ap50"] > detectors["mog2-blobs"]["ap50"] + 0.2
    for name in set(detectors) - {"built-in", "mog2-blobs"}:
        assert detectors[name]["frames"] == 8
        assert detectors[name]["ap50"] > 0.8
        assert detectors[name]["times_bare"] > 0


def test_the_bench_names_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"View_001\.txt: no such truth; point SPOTON_SHARED"):
        run(tmp_path)
