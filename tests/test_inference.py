"""Devices, providers and memory: what is chosen with what is installed here, and what is refused in one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import structlog

from spoton.config import Config
from spoton.errors import InputError, ModelError
from spoton.vision import providers
from spoton.vision.bound_run import BoundRuns
from spoton.vision.choose import make_detector
from spoton.vision.detector_contract import alike, picture
from spoton.vision.device_preparation import DevicePreparation
from spoton.vision.halving import BatchLimit, out_of_memory
from spoton.vision.inference import Inference
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.onnx_graph import Graph

_spec = importlib.util.spec_from_file_location("small_networks", Path(__file__).with_name("small_networks.py"))
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)

AVAILABLE = onnxruntime.get_available_providers()
needs_no_cuda = pytest.mark.skipif(providers.CUDA in AVAILABLE, reason="this ONNX Runtime has CUDA")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "gpu"}, r"device = 'gpu' is no device; write auto, cpu, cuda or cuda:0"),
        ({"device": "cuda:x"}, r"device = 'cuda:x' is no device"),
        ({"provider": "rocm"}, r"provider = 'rocm' is not known; choose from auto, cpu, openvino, cuda, tensorrt"),
        ({"precision": "int8"}, r"precision = 'int8' is not known; choose from auto, fp32, fp16"),
        ({"device": "cpu", "provider": "cuda"}, r"provider = 'cuda' does not run on device = 'cpu'"),
        ({"device": "cuda:1", "provider": "openvino"}, r"provider = 'openvino' does not run on device = 'cuda:1'"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        Inference(**given)


def test_the_environment_says_how_networks_are_run(tmp_path):
    environment = {
        "SPOTON_SITE": "a.toml",
        "SPOTON_DATA": str(tmp_path),
        "SPOTON_DEVICE": "cuda:1",
        "SPOTON_PRECISION": "fp32",
        "SPOTON_DECODE": "cpu",
        "SPOTON_BATCH": "4",
        "SPOTON_BATCH_WAIT_MS": "7.5",
        "SPOTON_DETECTOR_MEMORY_MB": "512",
    }
    inference = Config.from_env(environment).inference
    assert inference == Inference(
        device="cuda:1", precision="fp32", batch_max=4, batch_wait_ms=7.5, memory_mb=512,
        cache=tmp_path / "tensorrt", decode="cpu",
    )  # fmt: skip
    assert (inference.gpu, inference.memory_bytes) == (1, 512 * 2**20)
    assert Config.from_env({"SPOTON_SITE": "a.toml"}).inference.device == "auto"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SPOTON_DEVICE", "tpu", "SPOTON_DEVICE = 'tpu' is no device; write auto"),
        ("SPOTON_PROVIDER", "x", "SPOTON_PROVIDER = 'x' is not known"),
        ("SPOTON_DECODE", "gpu", "SPOTON_DECODE = 'gpu' is not known; choose from auto, cpu"),
        ("SPOTON_BATCH", "0", "SPOTON_BATCH = '0' is no whole number from 1 to 256"),
        ("SPOTON_BATCH_WAIT_MS", "-1", "SPOTON_BATCH_WAIT_MS = '-1' is no number from 0 to 1000"),
        ("SPOTON_DETECTOR_MEMORY_MB", "1.5", "SPOTON_DETECTOR_MEMORY_MB = '1.5' is no whole number from 16"),
    ],
)
def test_a_wrong_variable_is_named(name, value, message):
    with pytest.raises(InputError, match=message):
        Inference.from_env({name: value})


@pytest.mark.parametrize(
    ("given", "available", "expected"),
    [
        ({}, ["cuda", "openvino", "cpu"], ["cuda", "openvino", "cpu"]),
        ({}, ["tensorrt", "cuda", "cpu"], ["cuda", "cpu"]),
        ({"device": "cpu"}, ["cuda", "openvino", "cpu"], ["openvino", "cpu"]),
        ({"device": "cuda:0"}, ["tensorrt", "cuda", "cpu"], ["cuda"]),
        ({"provider": "tensorrt"}, ["tensorrt", "cuda", "cpu"], ["tensorrt"]),
        ({"provider": "cpu"}, ["openvino", "cpu"], ["cpu"]),
    ],
)
def test_providers_are_tried_best_first_and_alone_when_named(given, available, expected):
    names = [providers._NAMES[name] for name in expected]
    assert providers.wanted(Inference(**given), [providers._NAMES[name] for name in available]) == names


@needs_no_cuda
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "cuda"}, r"device = 'cuda' needs CUDAExecutionProvider, this ONNX Runtime has .*; pip uninstall"),
        ({"device": "cuda:3"}, r"device = 'cuda:3' needs CUDAExecutionProvider"),
        ({"provider": "tensorrt"}, r"provider = 'tensorrt' needs TensorrtExecutionProvider, .*spoton\[gpu\]"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_one_line_with_a_remedy(given, message, tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    with pytest.raises(ModelError, match=message) as caught:
        make_detector(str(path), weights_dir=tmp_path, inference=Inference(**given))
    assert "\n" not in str(caught.value)


def test_what_is_installed_here_runs(tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    assert Graph(path, inference=Inference(provider="cpu")).provider == providers.CPU
    best = Graph(path).provider
    assert best == providers.wanted(Inference(), AVAILABLE)[0]


@pytest.mark.openvino
@needs_no_cuda
def test_openvino_is_taken_where_it_is_installed(tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    assert Graph(path).provider == Graph(path, inference=Inference(provider="openvino")).provider == providers.OPENVINO


@pytest.mark.models
def test_pytorch_without_a_gpu_says_so(tmp_path):
    import torch

    from spoton.vision.torch_device import torch_device

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert torch_device(Inference()).type == "cpu"
    with pytest.raises(ModelError, match=r"device = 'cuda:0': PyTorch .* can use 0 GPUs here; choose device = cpu"):
        torch_device(Inference(device="cuda:0"))
    with pytest.raises(ModelError, match="precision = 'fp16' needs a GPU"):
        torch_device(Inference(precision="fp16"))


@pytest.mark.parametrize("batch", ["batch", 1, 4])
def test_bound_buffers_give_what_plain_runs_give(batch, tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8", batch)
    session = Graph(path).session
    runs = BoundRuns(session, "cpu")
    rng = np.random.default_rng(1)
    for count in (1, 1) if batch == 1 else (3, 1, 4, 3):
        tensor = rng.random((count, 3, 64, 64), np.float32)
        filled = np.concatenate([tensor, np.zeros((4 - count, 3, 64, 64), np.float32)]) if batch == 4 else tensor
        (plain,) = session.run(None, {"images": filled})
        (found,) = runs.run(tensor)
        assert np.array_equal(found, plain[:count])


@pytest.mark.models
@pytest.mark.parametrize("batch", ["batch", 4])
def test_tensors_on_the_device_are_run_where_they_lie(batch, tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8", batch)
    frames = [picture(120, 160, seed) for seed in range(6)]
    expected = OnnxDetector(path, inference=Inference(provider="cpu")).detect(frames)
    detector = OnnxDetector(path, inference=Inference(provider="cpu"))
    detector.graph._bound = BoundRuns(detector.graph.session, "cpu")
    detector._on_device = DevicePreparation(detector.preparation, "cpu")
    for one, other in zip(detector.detect(frames), expected, strict=True):
        assert alike(one, other, within_px=1.0, within_score=0.01, score_edge=0.1)


def wide_network(path: Path, kind: int = 1) -> Path:
    """A detector that needs 24 MiB for each picture: 32 copies of it side by side."""
    g = networks.graphs
    table = networks.onnx_tables("yolov8")[0].astype(np.float32)[None]
    nodes = [
        g.node("Concat", ["images"] * 32, "wide", axis=1),
        g.node("ReduceMean", ["wide"], "mean_1", axes=[3], keepdims=0),
        g.node("ReduceMean", ["mean_1"], "mean", axes=[1, 2], keepdims=1),
        g.node("Mul", ["table", "mean"], "output0"),
    ]
    ports = [g.port("images", ["b", 3, 256, 256])], [g.port("output0", ["b", *table.shape[1:]])]
    path.with_suffix(".toml").write_text('decoder = "yolov8"\n')
    path.write_bytes(g.model(nodes, [g.tensor("table", table)], *ports))
    return path


def test_a_batch_that_really_runs_out_of_memory_is_halved_and_goes_on_and_says_so(tmp_path):
    path = wide_network(tmp_path / "wide.onnx")
    frames = [picture(120, 160, seed) for seed in range(11)]
    expected = OnnxDetector(path, inference=Inference(provider="cpu")).detect(frames)
    detector = OnnxDetector(path, inference=Inference(provider="cpu", memory_mb=96))
    with structlog.testing.capture_logs() as said:
        found = detector.detect(frames)
    assert [line["pictures_now"] for line in said] == [5, 2]
    assert all(line["event"] == "out of memory: the batch is halved" for line in said)
    assert (detector.limit.most, detector.limit.out_of_memory) == (2, 2)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.boxes_px, other.boxes_px)
    with structlog.testing.capture_logs() as said:
        detector.detect(frames)
    assert said == []


def test_a_single_picture_that_does_not_fit_is_one_line(tmp_path):
    path = wide_network(tmp_path / "wide.onnx")
    with pytest.raises(ModelError, match=r"wide\.onnx: out of memory with a single picture; give it more memory"):
        OnnxDetector(path, inference=Inference(provider="cpu", memory_mb=16))


@pytest.mark.models
def test_pytorchs_own_memory_error_is_known():
    import torch

    limit = BatchLimit("net", 8)

    def grab(start, end):
        # Two pictures and more ask for more than any machine has.
        return torch.empty(2**55 if end - start > 1 else 1).numel()

    assert limit.run(grab, 5) == [1] * 5
    assert (limit.most, limit.out_of_memory) == (1, 2)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))


def test_another_error_is_not_taken_for_lack_of_memory():
    def fail(start, end):
        raise ValueError("shape mismatch")

    limit = BatchLimit("net", 8)
    with pytest.raises(ValueError, match="shape mismatch"):
        limit.run(fail, 4)
    assert limit.out_of_memory == 0
    assert limit.run(lambda start, end: (start, end), 0) == []
    assert limit.run(lambda start, end: (start, end), 20) == [(0, 8), (8, 16), (16, 20)]
