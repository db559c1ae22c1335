"""Embedders: unit rows, empty batches, and colours in the order red, green, blue."""

from __future__ import annotations

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sight import Detectors, Found, Sight
from spoton import events, tracks
from spoton.errors import InputError, ModelError
from spoton.likeness import usual_gate
from spoton.offline import embedder_bench
from spoton.site import CameraSite, Site
from spoton.vision.choose import make_embedder
from spoton.vision.histogram_embedder import METRIC, HistogramEmbedder
from spoton.vision.onnx_embedder import OnnxEmbedder
from spoton.vision.protocols import Detections
from spoton.vision.worn_colours import BINS, HUES, STRIPES, VALUES, worn_colours

_spec = importlib.util.spec_from_file_location("onnx_graphs", Path(__file__).with_name("onnx_graphs.py"))
graphs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(graphs)

SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).parents[2] / "shared"))
OSNET = SHARED / "weights" / "reid" / "osnet_x0_25_msmt17.onnx"
MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])
RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)


def plain(colour: tuple[int, int, int], height: int = 80, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def parts(crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much of a crop's worn colours each hue has, (STRIPES, HUES), and grey, (STRIPES,), as shares of 1."""
    power = worn_colours([crop])[0].astype(np.float64).reshape(STRIPES, -1) ** 2
    hues = power[:, : HUES * VALUES].reshape(STRIPES, HUES, VALUES)
    return hues.sum(axis=2), power[:, HUES * VALUES :].sum(axis=1)


@pytest.mark.parametrize(("colour", "bin_of_hue"), [(RED, 0), (GREEN, 4), (BLUE, 8)])
def test_the_histogram_sees_red_as_red(colour, bin_of_hue):
    hues, _ = parts(plain(colour))
    assert (hues.argmax(axis=1) == bin_of_hue).all()
    assert hues[:, bin_of_hue] == pytest.approx(np.full(STRIPES, 1 / STRIPES), abs=0.02)


def test_grey_has_no_hue():
    hues, greys = parts(plain((128, 128, 128)))
    assert hues.max() < 1e-4
    assert greys == pytest.approx(np.full(STRIPES, 1 / STRIPES), abs=1e-3)


def test_the_histogram_knows_what_is_worn_where():
    red_above = np.concatenate([plain(RED, 40), plain(BLUE, 40)])
    blue_above = red_above[::-1].copy()
    rows = HistogramEmbedder().embed([red_above, blue_above, cv2.resize(red_above, (60, 200))])
    assert 1.0 - rows[0] @ rows[1] > usual_gate(HistogramEmbedder.name, None)
    assert rows[0] @ rows[2] > 0.95


def test_background_at_the_sides_counts_less():
    person = plain(RED, 80, 40)
    beside = person.copy()
    beside[:, :6], beside[:, -6:] = GREEN, GREEN
    middle = person.copy()
    middle[:, 14:26] = GREEN
    rows = HistogramEmbedder().embed([person, beside, middle])
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.1


@settings(max_examples=40, deadline=None)
@given(height=st.integers(0, 90), width=st.integers(0, 50), seed=st.integers(0, 2**31))
def test_every_crop_gives_a_unit_row(height, width, seed):
    crop = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows = HistogramEmbedder().embed([crop, crop])
    assert rows.shape == (2, HistogramEmbedder.dim)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
    assert np.array_equal(rows[0], rows[1])


def test_no_crops_give_no_rows():
    assert HistogramEmbedder().embed([]).shape == (0, HistogramEmbedder.dim)


def test_the_metric_is_of_the_colours_that_are_counted():
    kept = np.load(METRIC)
    assert kept.shape == (STRIPES * BINS, HistogramEmbedder.dim)
    assert np.isfinite(kept).all()
    assert np.linalg.matrix_rank(kept.astype(np.float64)) == HistogramEmbedder.dim


def test_an_onnx_embedder_feeds_red_first_with_imagenet_statistics(tmp_path):
    embedder = OnnxEmbedder(graphs.write_channel_means(tmp_path / "means.onnx"))
    assert embedder.dim == 3
    for colour in (RED, GREEN, BLUE):
        expected = (np.array(colour) / 255 - MEAN) / DEVIATION
        row = embedder.embed([plain(colour)])[0]
        assert row == pytest.approx(expected / np.linalg.norm(expected), abs=1e-4)
        assert row.argmax() == np.argmax(colour)


def test_an_onnx_embedder_keeps_order_and_takes_nothing(tmp_path):
    embedder = OnnxEmbedder(graphs.write_channel_means(tmp_path / "means.onnx"))
    colours = [RED, BLUE, GREEN] * 11  # more than one run
    rows = embedder.embed([plain(colour, 10 + k, 5 + k) for k, colour in enumerate(colours)])
    assert rows.argmax(axis=1).tolist() == [int(np.argmax(colour)) for colour in colours]
    assert embedder.embed([]).shape == (0, 3)
    assert np.linalg.norm(embedder.embed([np.zeros((0, 7, 3), dtype=np.uint8)])) == pytest.approx(1.0, abs=1e-5)


def test_osnet_gets_what_it_was_trained_on():
    if not OSNET.is_file():
        pytest.skip(f"no OSNet weights under {SHARED}")
    crop = np.random.default_rng(1).integers(0, 256, (180, 70, 3), dtype=np.uint8)
    crop = cv2.GaussianBlur(crop, (0, 0), 9)
    crop[:90, :, 0] = 200  # a red coat
    resized = cv2.resize(crop, (128, 256), interpolation=cv2.INTER_LINEAR)
    session = onnxruntime.InferenceSession(str(OSNET))

    def by_hand(picture: np.ndarray) -> np.ndarray:
        tensor = ((picture / 255.0 - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32)
        row = session.run(None, {session.get_inputs()[0].name: tensor})[0][0]
        return row / np.linalg.norm(row)

    row = OnnxEmbedder(OSNET).embed([crop])[0]
    assert row.shape == (512,)
    assert row == pytest.approx(by_hand(resized), abs=1e-4)
    assert row @ by_hand(resized[:, :, ::-1]) < 0.98


def test_weights_of_a_detector_are_no_embedder(tmp_path):
    path = graphs.write_tables(tmp_path / "net.onnx", [np.zeros((5, 84))], input_shape=[1, 3, 64, 64])
    with pytest.raises(ModelError, match=r"an embedder needs one output of shape \(batch, dim\) \(found inputs"):
        OnnxEmbedder(path)


def test_the_choice_is_said(tmp_path):
    path = graphs.write_channel_means(tmp_path / "mine.onnx")
    with structlog.testing.capture_logs() as said:
        assert make_embedder(None, weights_dir=tmp_path).name == "histogram"
        assert make_embedder("histogram", weights_dir=tmp_path).name == "histogram"
        assert make_embedder(str(path), weights_dir=tmp_path).name == "mine"
    assert [line["embedder"] for line in said] == ["histogram", "histogram", "mine"]
    with pytest.raises(ModelError, match="run `spoton models pull osnet`"):
        make_embedder("osnet", weights_dir=tmp_path)
    with pytest.raises(ModelError, match="embedder 'picodet-s' is not known; choose auto, histogram, clip, osnet"):
        make_embedder("picodet-s", weights_dir=tmp_path)


def test_a_truncated_graph_is_one_error(tmp_path):
    path = graphs.write_channel_means(tmp_path / "means.onnx")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelError, match=r"means.onnx: not a readable ONNX graph .*may be cut short") as error:
        OnnxEmbedder(path)
    assert "\n" not in str(error.value)


def test_a_network_of_broken_weights_is_refused_before_its_first_crop(tmp_path):
    path = graphs.write_tables(tmp_path / "net.onnx", [np.full((1, 8), np.nan)], input_shape=[1, 3, 64, 32])
    with pytest.raises(ModelError, match=r"output output0 holds NaN or infinity; the weights are damaged"):
        OnnxEmbedder(path)


def write_roots(path):
    """The square root of each channel's mean: fine for zeros, not a number for what is darker than average."""
    nodes = [
        graphs.node("ReduceMean", ["input"], "mean", axes=[2, 3], keepdims=0),
        graphs.node("Sqrt", ["mean"], "output"),
    ]
    ports = [graphs.port("input", ["batch", 3, 64, 32])], [graphs.port("output", ["batch", 3])]
    path.write_bytes(graphs.model(nodes, [], *ports))
    return path


def test_not_a_number_later_on_is_one_error_and_the_embedder_goes_on(tmp_path):
    embedder = OnnxEmbedder(write_roots(tmp_path / "roots.onnx"))
    with pytest.raises(ModelError, match=r"roots.onnx: output output holds NaN or infinity"):
        embedder.embed([plain((255, 255, 255)), plain((0, 0, 0))])
    assert np.linalg.norm(embedder.embed([plain((255, 255, 255))])) == pytest.approx(1.0, abs=1e-5)


async def test_detection_goes_on_without_looks_when_the_embedder_fails(tmp_path):
    site = Site("plaza", (CameraSite("north"),))
    picture = np.random.default_rng(1).integers(0, 60, (240, 320, 3), dtype=np.uint8)
    boxes = Detections(np.array([[50.0, 40, 60, 150], [200, 40, 60, 150]]), np.array([0.9, 0.9]))
    embedder = OnnxEmbedder(write_roots(tmp_path / "roots.onnx"))
    with ThreadPoolExecutor(1) as pool:
        sight = Sight(
            detectors=Detectors({}, {}, pool), embedders={"plaza": embedder}, sites={"plaza": site}, pool=pool
        )
        frame = events.FrameCaptured(
            site="plaza", camera="north", frame=0, at=1, session=1, size_px=(320, 240), jpeg=b""
        )
        found = Found(picture, boxes, "test")
        with structlog.testing.capture_logs() as said:
            seen = await sight.describe(frame, found, tracks.initial())
        assert (len(seen.boxes_px), seen.looks, sight.looked) == (2, {}, {})
        assert "embedder failed" in said[0]["event"]
        assert "holds NaN" in said[0]["error"]
        good = Found(np.full_like(picture, 190) + picture, boxes, "test")
        seen = await sight.describe(frame, good, tracks.initial())
        assert sorted(seen.looks) == [0, 1]
        assert sight.looked["plaza"].counts()["taken"] == 2


def write_crops(folder, shade):
    """Three people in plain coats, seen by two cameras, the second darker."""
    for part, cameras in (("query", (1,)), ("gallery", (1, 2))):
        (folder / part / "made").mkdir(parents=True)
        for person, colour in enumerate((RED, GREEN, BLUE), start=1):
            for camera in cameras:
                crop = (plain(colour) * (shade if camera == 2 else 1.0)).astype(np.uint8)
                path = folder / part / "made" / f"{person:04d}_c{camera:02d}_001.jpg"
                cv2.imwrite(str(path), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))


def test_the_bench_finds_people_across_cameras(tmp_path):
    write_crops(tmp_path, 0.8)
    result = embedder_bench.run(tmp_path, tmp_path)
    assert result["missing"] == ["osnet", "clip"]
    score = result["embedders"]["histogram"]["sources"]["made"]
    assert (score["queries"], score["gallery"], score["rank1"], score["mean_ap"]) == (3, 6, 1.0, 1.0)
    with pytest.raises(InputError, match=r"no crops in query/SOURCE; give a folder"):
        embedder_bench.run(tmp_path / "elsewhere", tmp_path)


def test_retrieval_is_scored_as_market_1501_scores_it():
    alike = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
    same = np.array([[True, False, True, False, True]])
    own_camera = np.array([[True, False, False, False, False]])
    first, precision = embedder_bench.retrieval(alike, same, ~own_camera)
    assert first.tolist() == [False]
    assert precision == pytest.approx([(1 / 2 + 2 / 4) / 2])
    assert embedder_bench.retrieval(alike, same, ~same)[0].size == 0, "a query nobody answers is not counted"


def test_the_equal_error_is_where_both_shares_meet():
    distance, share = embedder_bench.equal_error(np.array([0.1, 0.2, 0.3, 0.6]), np.array([0.25, 0.7, 0.8, 0.9]))
    assert 0.3 <= distance < 0.6
    assert share == pytest.approx(0.25)
