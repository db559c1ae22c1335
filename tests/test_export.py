"""Detectors written as ONNX: what comes out is a detector again, and the report tells how it differs."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from spoton.cli import app
from spoton.errors import InputError, ModelError
from spoton.offline import export
from spoton.offline.parity import compare, overlaps
from spoton.vision.detector_contract import picture
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.protocols import Detections

SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).parents[2] / "shared"))

_spec = importlib.util.spec_from_file_location("small_networks", Path(__file__).with_name("small_networks.py"))
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)


@pytest.fixture
def stills(tmp_path):
    folder = tmp_path / "stills"
    folder.mkdir()
    for seed in range(4):
        cv2.imwrite(str(folder / f"{seed}.png"), picture(120, 160, seed))
    return folder


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_small_network_stays_what_it_is(precision, stills, tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    out = tmp_path / "out.onnx"
    report = export.run(str(path), out, precision=precision, pictures=stills, weights_dir=tmp_path)
    assert report["pictures"] == 4
    assert report["people_before"] > 20
    assert report["same"] >= 0.95 * report["people_before"]
    assert report["box_px_worst"] <= (0.0 if precision == "fp32" else 1.0)
    assert report["bytes"] == out.stat().st_size
    assert (OnnxDetector(out).graph.inputs[0].kind == "tensor(float16)") == (precision == "fp16")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "out.onnx", "stills"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_real_network_keeps_its_people(precision, tmp_path):
    path, pictures = SHARED / "weights/detector/yolox_nano.onnx", SHARED / "data/mot17_mini_02/img1"
    if not path.is_file() or not pictures.is_dir():
        pytest.skip(f"no YOLOX-Nano or no pictures under {SHARED}")
    out = tmp_path / "out.onnx"
    call = ["models", "export", str(path), "--out", str(out), "--precision", precision, "--pictures", str(pictures)]
    answer = CliRunner().invoke(app, [*call, "--json"], catch_exceptions=False)
    report = json.loads(answer.stdout.splitlines()[-1])
    assert report["bytes"] < 0.6 * report["bytes_before"]
    assert (report["calibrated_on"], report["pictures"]) == ((2, 2) if precision == "int8" else (0, 4))
    assert report["people_before"] >= 4
    # Eight bits cost some of the small and unsure ones; the report says how many.
    assert report["same"] >= (0.95 if precision == "fp16" else 0.5) * report["people_before"]


@pytest.mark.models
@pytest.mark.parametrize("version", ["rt_detr", "rt_detr_v2"])
def test_a_transformers_checkpoint_becomes_an_onnx_detector(version, stills, tmp_path):
    folder = networks.save_rtdetr(tmp_path / "net", version)
    out = tmp_path / "out.onnx"
    report = export.run(f"transformers:{folder}", out, precision="fp32", pictures=stills, weights_dir=tmp_path)
    assert report["people_before"] > 4
    assert report["people_after"] > 4
    assert OnnxDetector(out).preparation.fit == "stretch"


@pytest.mark.models
def test_an_ultralytics_checkpoint_becomes_an_onnx_detector(stills, tmp_path):
    path = networks.save_ultralytics(tmp_path / "net.pt")
    out = tmp_path / "out.onnx"
    report = export.run(f"ultralytics:{path}", out, precision="fp32", pictures=stills, weights_dir=tmp_path)
    assert report["same"] >= 0.95 * report["people_before"] > 4
    assert report["box_px_worst"] < 1.0


def test_what_cannot_be_exported_is_one_line(stills, tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    given = {"precision": "fp32", "pictures": stills, "weights_dir": tmp_path}
    with pytest.raises(InputError, match="--precision = 'int4' is not known; choose from fp32, fp16, int8"):
        export.run(str(path), tmp_path / "out.onnx", **given | {"precision": "int4"})
    with pytest.raises(InputError, match=r"out\.bin' is no \.onnx file"):
        export.run(str(path), tmp_path / "out.bin", **given)
    with pytest.raises(InputError, match="no such folder; make it first"):
        export.run(str(path), tmp_path / "none" / "out.onnx", **given)
    with pytest.raises(InputError, match="0 pictures that can be read"):
        export.run(str(path), tmp_path / "out.onnx", **given | {"pictures": tmp_path / "none"})
    with pytest.raises(ModelError, match=r"none\.onnx: no such weights file"):
        export.run(str(tmp_path / "none.onnx"), tmp_path / "out.onnx", **given)
    with pytest.raises(ModelError, match="int8-dynamic is for transformers, this graph has no MatMul"):
        export.run(str(path), tmp_path / "out.onnx", **given | {"precision": "int8-dynamic"})
    with pytest.raises(ModelError, match="no backend is called 'mxnet'"):
        export.run("mxnet:there", tmp_path / "out.onnx", **given)
    assert not (tmp_path / "out.onnx").exists()


class Fixed:
    name, shared = "fixed", True

    def __init__(self, boxes, scores):
        self.found = Detections(np.array(boxes, dtype=float).reshape(-1, 4), np.array(scores, dtype=float))

    def detect(self, frames):
        return [self.found for _ in frames]


def test_the_report_counts_people_and_distances():
    one = Fixed([[0, 0, 10, 20], [50, 0, 10, 20], [90, 0, 5, 5]], [0.9, 0.8, 0.2])
    other = Fixed([[51, 0, 10, 20], [0, 0, 10, 22], [200, 0, 10, 20]], [0.7, 0.9, 0.5])
    report = compare(one, other, [picture(10, 10), picture(10, 10)])
    assert (report["people_before"], report["people_after"], report["same"]) == (4, 6, 4)
    assert (report["box_px_median"], report["box_px_worst"], report["score_worst"]) == (1.5, 2.0, 0.1)
    nobody = compare(Fixed([], []), Fixed([], []), [picture(10, 10)])
    assert (nobody["same"], nobody["box_px_worst"]) == (0, None)
    assert overlaps(np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 2, 2.0]])).tolist() == [[pytest.approx(1 / 3)]]
