"""Detectors in ONNX files: recognised, prepared, decoded, batched, and refused in one line when they cannot be used."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import structlog

from spoton.errors import InputError, ModelError
from spoton.vision.choose import make_detector
from spoton.vision.decoders import recognise
from spoton.vision.decoding import suppress
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.preparation import Preparation
from spoton.vision.protocols import Detections
from spoton.vision.tiling import TiledDetector

_spec = importlib.util.spec_from_file_location("onnx_graphs", Path(__file__).with_name("onnx_graphs.py"))
graphs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(graphs)

SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).parents[2] / "shared"))
SIDE = 64
CELLS = 64 + 16 + 4  # strides 8, 16, 32 at 64 px
PERSON_XYXY = np.array([12.0, 16.0, 28.0, 48.0])


def ones(width: int = SIDE, height: int = SIDE, value: int = 1) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def yolov8_table(classes: int = 3, person: int = 0, score: float = 0.9) -> np.ndarray:
    table = np.zeros((4 + classes, CELLS), dtype=np.float32)
    table[:4, 5] = 20, 32, 16, 32
    table[4 + person, 5] = score
    table[:4, 6] = 21, 32, 16, 32
    table[4 + person, 6] = score / 2  # the same person again: suppressed
    table[:4, 9] = 50, 50, 10, 10
    table[4 + (person + 1) % classes, 9] = 0.95  # another class
    return table


def yolox_table() -> np.ndarray:
    """The person sits in the stride-16 cell of column 1, row 2: centre (20, 32), size (16, 32)."""
    table = np.zeros((CELLS, 8), dtype=np.float32)
    cell = 64 + 2 * 4 + 1
    table[cell, :4] = 20 / 16 - 1, 32 / 16 - 2, np.log(16 / 16), np.log(32 / 16)
    table[cell, 4:6] = 0.9, 0.8
    return table


def yolov5_table() -> np.ndarray:
    table = np.zeros((3 * CELLS, 8), dtype=np.float32)
    table[7, :6] = 20, 32, 16, 32, 0.9, 0.8
    return table


def picodet_tables() -> list[np.ndarray]:
    """The person is told by the stride-16 cell of column 1, row 2, centre (24, 40), all weight on one bin per side."""
    scores = [np.zeros((count, 3), dtype=np.float32) for count in (64, 16, 4, 1)]
    sides = [np.zeros((count, 4 * 8), dtype=np.float32) for count in (64, 16, 4, 1)]
    scores[1][2 * 4 + 1, 0] = 0.9
    spread = sides[1][2 * 4 + 1].reshape(4, 8)
    for side, pixels in enumerate((12.0, 24.0, 4.0, 8.0)):
        low, part = divmod(pixels / 16, 1.0)
        spread[side] = -60.0
        spread[side, int(low)] = np.log(1 - part + 1e-9)
        spread[side, int(low) + 1] = np.log(part + 1e-9)
    return scores + sides


LAYOUTS = {
    "yolov8": ([yolov8_table()], 0.9),
    "yolox": ([yolox_table()], 0.72),
    "yolov5": ([yolov5_table()], 0.72),
    "picodet": (picodet_tables(), 0.9),
    "suppressed": ([np.array([[12, 16, 28, 48, 0.9, 0], [0, 0, 9, 9, 0.9, 2]], dtype=np.float32)], 0.9),
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("batch", [1, "batch", 3], ids=["one by one", "open", "three at once"])
def test_a_known_layout_gives_the_person_back(layout, batch, tmp_path):
    tables, score = LAYOUTS[layout]
    if layout in ("yolox", "picodet", "yolov5") and batch == 3:
        batch = 1
    path = graphs.write_tables(tmp_path / "net.onnx", tables, input_shape=[batch, 3, SIDE, SIDE])
    (tmp_path / "net.toml").write_text("mean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n")
    detector = OnnxDetector(path)
    found = detector.detect([ones(), ones(), ones(), ones()])
    assert len(found) == 4
    for each in found:
        assert each.boxes_px == pytest.approx(np.array([[12, 16, 16, 32]]), abs=0.02)
        assert each.scores == pytest.approx([score], abs=1e-3)
    assert detector.shared
    assert detector.name == "net"


def test_half_precision_graphs_run(tmp_path):
    path = graphs.write_tables(
        tmp_path / "half.onnx", [yolov8_table()], input_shape=[1, 3, SIDE, SIDE], kind=graphs.FLOAT16
    )
    (tmp_path / "half.toml").write_text("std = [1.0, 1.0, 1.0]\n")
    assert OnnxDetector(path).detect([ones()])[0].boxes_px == pytest.approx(np.array([[12, 16, 16, 32]]), abs=0.1)


@pytest.mark.parametrize("batch", [1, 2, 3, "batch"])
def test_a_batch_keeps_its_order(batch, tmp_path):
    path = graphs.write_tables(tmp_path / "net.onnx", [yolov8_table(score=0.25)], input_shape=[batch, 3, SIDE, SIDE])
    (tmp_path / "net.toml").write_text("std = [1.0, 1.0, 1.0]\n")
    detector = OnnxDetector(path)
    pictures = [ones(value=value) for value in (1, 2, 0, 1, 2)]  # the graph multiplies its answer by the mean
    widths = [each.boxes_px[:, 2].tolist() for each in detector.detect(pictures)]
    assert widths == [[pytest.approx(16)], [pytest.approx(32)], [], [pytest.approx(16)], [pytest.approx(32)]]
    assert detector.detect([]) == []


def test_boxes_come_back_in_the_pictures_own_pixels(tmp_path):
    path = graphs.write_tables(tmp_path / "net.onnx", [yolov8_table()], input_shape=["b", 3, SIDE, SIDE])
    (tmp_path / "net.toml").write_text("std = [1.0, 1.0, 1.0]\npad = 1\n")
    wide, tall = OnnxDetector(path).detect([ones(128, 64), ones(32, 64)])
    assert wide.boxes_px == pytest.approx(np.array([[24, 0, 32, 64]]))  # scaled by a half, 16 px padding above, cut
    assert tall.boxes_px == pytest.approx(np.array([[0, 16, 12, 32]]))  # 16 px padding on the left, cut there


def test_class_names_in_the_file_choose_the_person(tmp_path):
    path = graphs.write_tables(
        tmp_path / "net.onnx",
        [yolov8_table(person=2)],
        input_shape=[1, 3, SIDE, SIDE],
        metadata={"names": "{0: 'car', 1: 'dog', 2: 'person'}"},
    )
    (tmp_path / "net.toml").write_text("std = [1.0, 1.0, 1.0]\n")
    assert len(OnnxDetector(path).detect([ones()])[0]) == 1
    graphs.write_tables(
        path, [yolov8_table()], input_shape=[1, 3, SIDE, SIDE], metadata={"names": "{0: 'car', 1: 'dog', 2: 'cat'}"}
    )
    with pytest.raises(ModelError, match="no class is named person among car, dog, cat"):
        OnnxDetector(path)


def test_the_file_beside_the_weights_has_the_last_word(tmp_path):
    path = graphs.write_tables(tmp_path / "net.onnx", [yolov8_table(person=1)], input_shape=[1, 3, SIDE, SIDE])
    (tmp_path / "net.toml").write_text('decoder = "yolov8"\nperson_class = 1\nstd = [1, 1, 1]\nfit = "stretch"\n')
    found = OnnxDetector(path).detect([ones(128, 64)])[0]
    assert found.boxes_px == pytest.approx(np.array([[24, 16, 32, 32]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("decoder = 'ssd'", r"net.toml: decoder = 'ssd': must be one of picodet, yolox", id="decoder"),
        pytest.param("persons = 1", "net.toml: persons = 1: unknown key, the keys are decoder", id="unknown key"),
        pytest.param("std = [1, 0, 1]", r"net.toml: std = \[1, 0, 1\]: std must not hold 0", id="zero deviation"),
        pytest.param("mean = [1, 2]", r"net.toml: mean = \[1, 2\]: must be three numbers", id="two channels"),
        pytest.param("person_class = -1", "must be a whole number from 0 to 255", id="negative class"),
        pytest.param("person_class = 7", "class 7 was asked for, the outputs score 3 classes", id="no such class"),
        pytest.param("input = [8, 8]", "whole numbers of at least 32", id="tiny input"),
        pytest.param("smooth = 1", "must be true or false", id="not a truth value"),
        pytest.param("decoder = 'yolox'", "decoder 'yolox' does not fit these outputs", id="another layout"),
        pytest.param("decoder =", "net.toml: not valid TOML", id="syntax"),
    ],
)
def test_a_wrong_description_is_named(text, message, tmp_path):
    path = graphs.write_tables(tmp_path / "net.onnx", [yolov8_table()], input_shape=[1, 3, SIDE, SIDE])
    (tmp_path / "net.toml").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        OnnxDetector(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_graph_lists_what_was_found(tmp_path):
    path = graphs.write_tables(
        tmp_path / "odd.onnx", [np.zeros((7, 9)), np.zeros((2, 2))], input_shape=["n", 3, SIDE, SIDE]
    )
    with pytest.raises(ModelError) as caught:
        OnnxDetector(path)
    text = str(caught.value)
    assert "inputs: images [?, 3, 64, 64] float" in text
    assert "output0 [?, 7, 9] float, output1 [?, 2, 2] float" in text
    assert "odd.toml" in text
    assert "\n" not in text


def test_an_input_that_is_no_picture_is_refused(tmp_path):
    path = graphs.write_tables(tmp_path / "odd.onnx", [yolov8_table()], input_shape=[1, 5, SIDE, SIDE])
    with pytest.raises(ModelError, match=r"one input of shape \(batch, 3, height, width\) is needed"):
        OnnxDetector(path)


def test_broken_files_give_one_line(tmp_path):
    good = graphs.write_tables(tmp_path / "net.onnx", [yolov8_table()], input_shape=[1, 3, SIDE, SIDE]).read_bytes()
    cases = {"cut.onnx": good[: len(good) // 2], "text.onnx": b"404: Not Found", "empty.onnx": b""}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=f"{name}: .*pull or export it again|{name}: .*is needed") as caught:
            OnnxDetector(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"none\.onnx: no such weights file"):
        OnnxDetector(tmp_path / "none.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(value, tmp_path):
    table = yolov8_table()
    table[2, 70] = value
    path = graphs.write_tables(tmp_path / "net.onnx", [table], input_shape=[1, 3, SIDE, SIDE])
    with pytest.raises(ModelError, match="output output0 holds NaN or infinity"):
        OnnxDetector(path)


def test_preparations_are_those_of_the_reference_code():
    picture = np.random.default_rng(3).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    corner = Preparation(64, 64, "corner", "bgr").tensor(picture)
    by_hand = np.full((64, 64, 3), 114, dtype=np.uint8)
    by_hand[:48, :64] = cv2.resize(picture, (64, 48), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(corner, by_hand[:, :, ::-1].transpose(2, 0, 1).astype(np.float32))
    centre = Preparation(64, 64, "centre", "rgb", std=(255.0, 255.0, 255.0)).tensor(picture)
    by_hand = np.full((64, 64, 3), 114, dtype=np.uint8)
    by_hand[8:56] = cv2.resize(picture, (64, 48), interpolation=cv2.INTER_LINEAR)
    assert centre == pytest.approx(by_hand.transpose(2, 0, 1) / 255.0, abs=1e-6)
    stretch = Preparation(64, 64, "stretch", "rgb", (1.0, 2.0, 3.0), (2.0, 4.0, 8.0), smooth=True).tensor(picture)
    resized = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_CUBIC).astype(float)
    assert stretch == pytest.approx(((resized - (1, 2, 3)) / (2, 4, 8)).transpose(2, 0, 1), abs=1e-4)


def test_recognition_tells_the_layouts_apart():
    assert recognise([(1, 84, 8400)], 640, 640) == "yolov8"
    assert recognise([(1, 5, 8400)], 640, 640) == "yolov8"
    assert recognise([(1, 25200, 85)], 640, 640) == "yolov5"
    assert recognise([(1, 3549, 85)], 416, 416) == "yolox"
    assert recognise([(1, 300, 6)], 640, 640) == "suppressed"
    assert recognise([(1, 1000)], 224, 224) is None
    assert recognise([(1, 10, 4), (1, 10, 2)], 640, 640) is None


def test_suppression_keeps_the_surest():
    boxes = np.array([[0, 0, 10, 20], [1, 0, 10, 20], [40, 0, 10, 20]], dtype=float)
    kept = suppress(boxes, np.array([0.5, 0.9, 0.7]), 0.6)
    assert kept.boxes_px.tolist() == boxes[[1, 2]].tolist()
    assert kept.scores.tolist() == [0.9, 0.7]


class Squares:
    """A detector without memory that finds green squares exactly, if they are at least 8 px large."""

    name, shared = "squares", True

    def detect(self, frames):
        found = []
        for frame in frames:
            contours, _ = cv2.findContours(frame[:, :, 1] // 255, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            boxes = np.array([cv2.boundingRect(c) for c in contours], dtype=float).reshape(-1, 4)
            found.append(Detections(boxes, np.full(len(boxes), 0.8)))
        return found


def test_tiles_give_each_person_once():
    picture = np.zeros((300, 500, 3), dtype=np.uint8)
    squares = [(10, 10), (95, 95), (240, 140), (470, 270), (180, 20)]
    for x, y in squares:
        picture[y : y + 20, x : x + 20, 1] = 255
    tiled = TiledDetector(Squares(), tile_px=(128, 128), overlap=0.3)
    found = tiled.detect([picture, np.zeros((64, 64, 3), dtype=np.uint8), picture])
    for each in (found[0], found[2]):
        assert sorted(map(tuple, each.boxes_px.tolist())) == sorted((x, y, 20.0, 20.0) for x, y in squares)
    assert len(found[1]) == 0
    assert tiled.name == "squares in tiles"


def test_tiles_find_what_the_whole_picture_loses(tmp_path):
    class Shrinking(Squares):
        def detect(self, frames):
            return super().detect([frame if max(frame.shape) <= 200 else frame[:0, :0] for frame in frames])

    picture = np.zeros((300, 500, 3), dtype=np.uint8)
    picture[150:170, 240:260, 1] = 255
    assert len(TiledDetector(Shrinking(), tile_px=(128, 128)).detect([picture])[0]) == 1


def test_a_detector_with_memory_cannot_be_tiled(tmp_path):
    with pytest.raises(InputError, match="built-in remembers what it saw"):
        TiledDetector(make_detector("built-in", weights_dir=tmp_path))


@pytest.mark.parametrize("spec", [None, "auto"])
def test_without_weights_the_built_in_runs_and_says_how_to_get_them(spec, tmp_path):
    with structlog.testing.capture_logs() as said:
        detector = make_detector(spec, weights_dir=tmp_path)
    assert (detector.name, detector.shared) == ("built-in", False)
    assert [line["detector"] for line in said] == ["built-in"]
    assert said[0]["remedy"] == "spoton models pull picodet-s"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("picodet-s", r"picodet_s_416_coco\.onnx: no weights of picodet-s there; run `spoton models pull picodet-s`"),
        ("resnet", r"detector 'resnet' is not known; choose auto, built-in, picodet-s, yolox-nano, or the path"),
        ("osnet", r"detector 'osnet' is not known"),
        ("there/none.onnx", r"there/none\.onnx: no such weights file"),
    ],
)
def test_a_detector_that_is_not_there_is_named(spec, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        make_detector(spec, weights_dir=tmp_path)


def test_a_path_chooses_a_file(tmp_path):
    path = graphs.write_tables(tmp_path / "mine.onnx", [yolov8_table()], input_shape=[1, 3, SIDE, SIDE])
    with structlog.testing.capture_logs() as said:
        assert make_detector(str(path), weights_dir=tmp_path / "none").name == "mine"
    assert [(line["detector"], line["weights"]) for line in said] == [("mine", str(path))]


REAL = {
    "detector/picodet_s_416_coco.onnx": "picodet",
    "detector/yolox_nano.onnx": "yolox",
    "agpl_reference_only/yolov8n_int8.onnx": "yolov8",
    "agpl_reference_only/yolov5n_fp16.onnx": "yolov5",
}


@pytest.mark.parametrize("file", sorted(REAL))
def test_real_weights_find_the_people_of_a_real_picture(file):
    path = SHARED / "weights" / file
    picture_path = SHARED / "data" / "mot17_mini_02" / "img1" / "000001.jpg"
    if not path.is_file() or not picture_path.is_file():
        pytest.skip(f"no {file} or no picture under {SHARED}")
    truth = np.loadtxt(SHARED / "data" / "mot17_mini_02" / "gt" / "gt.txt", delimiter=",")
    picture = cv2.cvtColor(cv2.imread(str(picture_path)), cv2.COLOR_BGR2RGB)
    truth = truth[(truth[:, 0] == 1) & (truth[:, 5] > 200)]  # tall enough for a 416 px input
    found = OnnxDetector(path, score_min=0.3).detect([picture])[0]
    low = np.maximum(found.boxes_px[:, None, :2], truth[None, :, 2:4])
    high = np.minimum(
        found.boxes_px[:, None, :2] + found.boxes_px[:, None, 2:], truth[None, :, 2:4] + truth[None, :, 4:6]
    )
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(found.boxes_px[:, None, 2:], axis=2) + np.prod(truth[None, :, 4:6], axis=2)
    overlap = shared / (areas - shared)
    assert len(truth) >= 2
    assert np.median(overlap.max(axis=0)) > 0.6, f"{REAL[file]}: {overlap.max(axis=0)}"
