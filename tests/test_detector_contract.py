"""Every detector backend keeps the one contract, and finds what its family's published code finds in a picture."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from spoton.errors import ModelError
from spoton.vision import detector_contract
from spoton.vision.bound_run import BoundRuns
from spoton.vision.builtin_detector import BuiltinDetector
from spoton.vision.choose import make_detector
from spoton.vision.inference import Inference
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.protocols import Detections
from spoton.vision.tiling import TiledDetector

SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).parents[2] / "shared"))
FAMILIES = ("yolov8", "yolov5", "yolox", "picodet")
CHECKPOINTS = {"ultralytics-yolo": "yolov8n.yaml", "ultralytics-rtdetr": "rtdetr-l.yaml"}
REAL = {
    "picodet": "detector/picodet_s_416_coco.onnx",
    "yolox": "detector/yolox_nano.onnx",
    "yolov8": "agpl_reference_only/yolov8n_int8.onnx",
    "yolov5": "agpl_reference_only/yolov5n_fp16.onnx",
}


def sibling(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


networks, reference = sibling("small_networks"), sibling("reference_detectors")


def openvino(path):
    try:
        return OnnxDetector(path, inference=Inference(provider="openvino"))
    except ModelError:
        # Not every real graph is taken by every version of it: with `auto` ONNX Runtime's own provider runs such a one.
        detector = OnnxDetector(path)
        assert path.is_relative_to(SHARED)
        assert detector.graph.provider == "CPUExecutionProvider"
        return detector


def cuda(path):
    return OnnxDetector(path, inference=Inference(device="cuda"))


def bound(path):
    """As on a GPU, with the buffers on the host."""
    detector = OnnxDetector(path)
    detector.graph._bound = BoundRuns(detector.graph.session, "cpu")
    return detector


RUNS = {
    "cpu": lambda path: OnnxDetector(path, inference=Inference(provider="cpu")),
    "cpu with a budget": lambda path: OnnxDetector(path, inference=Inference(provider="cpu", memory_mb=64)),
    "on bound buffers": bound,
    "openvino": openvino,
    "cuda": cuda,
    "in tiles": lambda path: TiledDetector(OnnxDetector(path), tile_px=(640, 640)),
}
MARKS = {
    "models": pytest.mark.models,
    "openvino": pytest.mark.openvino,
    "cuda": pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="this ONNX Runtime has no CUDA provider",
    ),
}


def marked(name, kind):
    """A parameter, with the mark of what it needs."""
    return pytest.param(name, marks=MARKS.get(kind, ()))


BACKENDS = (
    *(marked(f"{family}, {run}", run) for family in FAMILIES for run in RUNS),
    *(marked(name, "models") for name in ("transformers rt_detr", "transformers rt_detr_v2", *CHECKPOINTS)),
    "built-in",
)


@pytest.fixture(scope="module")
def make(request, tmp_path_factory):
    """A function that gives the backend's detector; costly ones are made once."""
    name, folder = request.param, tmp_path_factory.mktemp("weights")
    if name == "built-in":
        return BuiltinDetector
    if name.startswith("transformers"):
        spec = f"transformers:{networks.save_rtdetr(folder, name.split()[1])}"
    elif name in CHECKPOINTS:
        spec = f"ultralytics:{networks.save_ultralytics(folder / 'net.pt', CHECKPOINTS[name])}"
    else:
        family, run = name.split(", ")
        path = networks.write_onnx(folder / "net.onnx", family)
        detector = RUNS[run](path)
        return lambda: detector
    detector = make_detector(spec, weights_dir=folder)
    return lambda: detector


@pytest.mark.parametrize("check", sorted(detector_contract.CHECKS))
@pytest.mark.parametrize("make", BACKENDS, indirect=True)
def test_a_backend_keeps_the_contract(make, check):
    detector_contract.CHECKS[check](make)


def pictures():
    return [detector_contract.picture(*size, seed) for seed, size in enumerate([(120, 160), (97, 211), (300, 60)])]


@pytest.mark.parametrize("run", [marked(run, run) for run in ("cpu", "on bound buffers", "openvino", "cuda")])
@pytest.mark.parametrize("family", FAMILIES)
def test_small_networks_are_read_as_the_published_code_reads_them(family, run, tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", family)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for frame, found in zip(pictures(), RUNS[run](path).detect(pictures()), strict=True):
        expected = Detections(*reference.detect(family, session, frame, least=0.1))
        assert len(expected) >= 3
        assert detector_contract.alike(found, expected, within_px=0.1, within_score=1e-3, score_edge=0.1)


@pytest.mark.parametrize("run", [marked(run, run) for run in ("cpu", "openvino", "cuda")])
@pytest.mark.parametrize("family", sorted(REAL))
def test_real_networks_are_read_as_the_published_code_reads_them(family, run):
    path, picture = SHARED / "weights" / REAL[family], SHARED / "data" / "mot17_mini_02" / "img1" / "000001.jpg"
    if not path.is_file() or not picture.is_file():
        pytest.skip(f"no {REAL[family]} or no picture under {SHARED}")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frame = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    detector = RUNS[run](path)
    for each in (frame, np.ascontiguousarray(frame[:, 500:1131]), cv2.resize(frame, (3840, 2160))):
        (found,) = detector.detect([each])
        expected = Detections(*reference.detect(family, session, each, least=0.1))
        assert len(expected) >= 5
        within_px = 0.002 * each.shape[1] if run == "cpu" else 0.01 * each.shape[1]
        within_score = 0.005 if run == "cpu" else 0.05
        assert detector_contract.alike(found, expected, within_px=within_px, within_score=within_score, score_edge=0.1)


@pytest.mark.models
@pytest.mark.parametrize("version", ["rt_detr", "rt_detr_v2"])
def test_transformers_networks_are_read_as_the_library_reads_them(version, tmp_path):
    folder = networks.save_rtdetr(tmp_path, version)
    import torch
    import transformers

    model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    found = make_detector(f"transformers:{folder}", weights_dir=tmp_path).detect(pictures())
    for frame, people in zip(pictures(), found, strict=True):
        with torch.inference_mode():
            outputs = model(**processor(images=frame, return_tensors="pt"))
        read = processor.post_process_object_detection(outputs, threshold=0.1, target_sizes=[frame.shape[:2]])[0]
        person = read["labels"].numpy() == 0
        corners = np.clip(read["boxes"].numpy()[person].reshape(-1, 2, 2), 0, (frame.shape[1], frame.shape[0]))
        boxes = np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], axis=1).astype(float)
        whole = (boxes[:, 2:] >= 1).all(axis=1)
        expected = Detections(boxes[whole], read["scores"].numpy()[person][whole].astype(float))
        assert len(expected) >= 3
        assert detector_contract.alike(people, expected, within_px=0.1, within_score=1e-3, score_edge=0.1)


@pytest.mark.models
@pytest.mark.parametrize("design", sorted(CHECKPOINTS.values()))
def test_ultralytics_networks_are_read_as_the_library_reads_them(design, tmp_path):
    path = networks.save_ultralytics(tmp_path / "net.pt", design)
    import ultralytics

    predictor = ultralytics.YOLO(str(path))
    settings = {"rect": False, "imgsz": 160, "conf": 0.1, "iou": 0.6, "classes": [0], "verbose": False, "max_det": 9999}
    found = make_detector(f"ultralytics:{path}", weights_dir=tmp_path).detect(pictures())
    for frame, people in zip(pictures(), found, strict=True):
        read = predictor.predict(np.ascontiguousarray(frame[:, :, ::-1]), save=False, **settings)[0].boxes
        corners = read.xyxy.numpy().astype(float)
        corners = np.clip(corners.reshape(-1, 2, 2), 0, (frame.shape[1], frame.shape[0]))
        boxes = np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], axis=1)
        whole = (boxes[:, 2:] >= 1).all(axis=1)
        expected = Detections(boxes[whole], read.conf.numpy().astype(float)[whole])
        assert len(expected) >= 3
        # Random weights drive a side's softmax to a tie now and then, which the last bits of a product decide.
        assert detector_contract.alike(people, expected, within_px=1.0, within_score=1e-3, score_edge=0.1)


@pytest.mark.models
@pytest.mark.parametrize("content", [b"", b"404: Not Found", "cut short"], ids=["empty", "text", "cut short"])
@pytest.mark.parametrize("backend", ["ultralytics", "transformers"])
def test_checkpoints_that_cannot_be_read_give_one_line(backend, content, tmp_path):
    if backend == "ultralytics":
        path = file = networks.save_ultralytics(tmp_path / "net.pt")
    else:
        path = networks.save_rtdetr(tmp_path / "net")
        file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if content == "cut short" else content)
    with pytest.raises(ModelError, match=r"net.*readable checkpoint") as caught:
        make_detector(f"{backend}:{path}", weights_dir=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.models
def test_a_checkpoint_without_people_is_refused(tmp_path):
    folder = networks.save_rtdetr(tmp_path, classes=("cat", "car", "dog"))
    with pytest.raises(ModelError, match="no class is named person among cat, car, dog"):
        make_detector(f"transformers:{folder}", weights_dir=tmp_path)


@pytest.mark.models
@pytest.mark.parametrize("backend", ["ultralytics", "transformers"])
def test_weights_of_nan_are_named_in_one_line(backend, tmp_path):
    if backend == "ultralytics":
        spec = f"ultralytics:{networks.save_ultralytics(tmp_path / 'net.pt')}"
    else:
        spec = f"transformers:{networks.save_rtdetr(tmp_path)}"
    detector = make_detector(spec, weights_dir=tmp_path)
    import torch

    with torch.no_grad():
        for weights in detector.model.parameters():
            weights.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN or infinity") as caught:
        detector.detect(pictures())
    assert "\n" not in str(caught.value)


def test_a_backend_whose_library_is_missing_says_what_to_install(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"x")
    for library, spec in (("transformers", "transformers:there"), ("ultralytics", f"ultralytics:{tmp_path}/net.pt")):
        if importlib.util.find_spec(library) is None:
            with pytest.raises(ModelError, match=r"pip install 'spoton\[models\]'"):
                make_detector(spec, weights_dir=tmp_path)
    with pytest.raises(ModelError, match=r"no backend is called 'tensorlow'; choose from .*transformers, ultralytics"):
        make_detector("tensorlow:there", weights_dir=tmp_path)
    with pytest.raises(ModelError, match=r"none\.pt: no such weights file"):
        make_detector("ultralytics:none.pt", weights_dir=tmp_path)
