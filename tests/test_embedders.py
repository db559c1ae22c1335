"""Embedders: unit rows, empty batches, and colours in the order red, green, blue."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from spoton.errors import ModelError
from spoton.vision.choose import make_embedder
from spoton.vision.histogram_embedder import GREYS, HUES, STRIPES, HistogramEmbedder
from spoton.vision.onnx_embedder import OnnxEmbedder

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


@pytest.mark.parametrize(("colour", "bin_of_hue"), [(RED, 0), (GREEN, 4), (BLUE, 8)])
def test_the_histogram_sees_red_as_red(colour, bin_of_hue):
    row = HistogramEmbedder().embed([plain(colour)])[0].reshape(STRIPES, HUES + GREYS)
    assert (row.argmax(axis=1) == bin_of_hue).all()
    assert row[:, bin_of_hue] == pytest.approx(np.full(STRIPES, 1 / np.sqrt(STRIPES)), abs=0.02)


def test_grey_has_no_hue():
    row = HistogramEmbedder().embed([plain((128, 128, 128))])[0].reshape(STRIPES, HUES + GREYS)
    assert row[:, :HUES].max() < 0.01


def test_the_histogram_knows_what_is_worn_where():
    red_above = np.concatenate([plain(RED, 40), plain(BLUE, 40)])
    blue_above = red_above[::-1].copy()
    rows = HistogramEmbedder().embed([red_above, blue_above, cv2.resize(red_above, (60, 200))])
    assert rows[0] @ rows[1] < 0.1
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
