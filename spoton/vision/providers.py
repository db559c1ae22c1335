"""ONNX Runtime's execution providers: which of those installed run a network, with which options."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxruntime
import structlog

from spoton.errors import ModelError
from spoton.vision.inference import Inference

CPU, OPENVINO = "CPUExecutionProvider", "OpenVINOExecutionProvider"
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
_NAMES = {"cpu": CPU, "openvino": OPENVINO, "cuda": CUDA, "tensorrt": TENSORRT}
_REMEDIES = {
    OPENVINO: "pip install onnxruntime-openvino in place of onnxruntime",
    CUDA: "pip uninstall onnxruntime, then pip install 'spoton[gpu]'; or device = cpu",
    TENSORRT: "pip uninstall onnxruntime, then pip install 'spoton[gpu]' and TensorRT; or provider = cuda",
}
_ERRORS_ONLY, _FATAL_ONLY = 3, 4

log = structlog.get_logger("detection")

Choice = tuple[str, dict[str, Any]]
"""A provider and its options."""


def wanted(inference: Inference, available: Iterable[str]) -> list[str]:
    """Providers to try, best first.

    available: those that ONNX Runtime was built with. With ``auto`` the CPU comes last; what was asked for by name
    stands alone. Raises ModelError when what was asked for is not installed.
    """
    there = set(available)
    if inference.provider != "auto":
        return [_installed(_NAMES[inference.provider], there, f"provider = {inference.provider!r}")]
    if inference.device.startswith("cuda"):
        return [_installed(CUDA, there, f"device = {inference.device!r}")]
    order = [OPENVINO, CPU] if inference.device == "cpu" else [CUDA, OPENVINO, CPU]
    return [name for name in order if name in there]


def _installed(name: str, there: set[str], asked: str) -> str:
    if name not in there:
        listed = ", ".join(sorted(there))
        raise ModelError(
            f"{asked} needs {name}, this ONNX Runtime has {listed}", remedy=_REMEDIES.get(name, "provider = auto")
        )
    return name


def options(name: str, inference: Inference, weights: Path) -> dict[str, Any]:
    """Options of one provider as ONNX Runtime documents them.

    CUDA: cuDNN's heuristic search and CUDA graphs, for which shapes are static; arena capped by the budget. TensorRT:
    FP16 and an engine cache, for a second start without a build. OpenVINO: the device and the threads.
    """
    budget = {} if inference.memory_mb is None else {"gpu_mem_limit": str(inference.memory_mb * 2**20)}
    if name == CUDA:
        return {
            "device_id": str(inference.gpu),
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            "enable_cuda_graph": "1",
            "use_tf32": "0" if inference.precision == "fp32" else "1",
            **budget,
        }
    if name == TENSORRT:
        folder = inference.cache or weights.parent
        return {
            "device_id": str(inference.gpu),
            "trt_fp16_enable": "0" if inference.precision == "fp32" else "1",
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
            "trt_cuda_graph_enable": "1",
            **({} if inference.memory_mb is None else {"trt_max_workspace_size": str(inference.memory_mb * 2**20)}),
        }
    if name == OPENVINO:
        return {"device_type": "CPU", "num_of_threads": str(threads(inference)), "precision": "FP32"}
    return {}


def threads(inference: Inference) -> int:
    """Threads of one operator."""
    return inference.threads or min(2, os.cpu_count() or 1)


def open_session(weights: Path, inference: Inference) -> onnxruntime.InferenceSession:
    """A session on the best provider that there is; its first provider is the one that runs.

    Raises ModelError when what was asked for is not installed or does not start here, or when the file is no graph.
    """
    names = wanted(inference, onnxruntime.get_available_providers())
    for name in names:
        last = name == names[-1]
        try:
            session = _open(weights, inference, name)
        except Exception as error:
            if last:
                if name == CPU:
                    raise
                raise _not_started(weights, name, error) from error
            session = None
        if session is not None and session.get_providers()[0] == name:
            return session
        if last:
            raise _not_started(weights, name, None)
        log.warning(
            "a provider does not start here, the next one runs", provider=name, next=names[names.index(name) + 1]
        )
    raise ModelError("ONNX Runtime has no provider for this device", remedy="pip install onnxruntime")


def _not_started(weights: Path, name: str, error: Exception | None) -> ModelError:
    why = f": {first_line(error)}" if error is not None else ": no device, or a library that it needs is missing"
    return ModelError(f"{weights}: {name} does not start{why}", remedy=_REMEDIES.get(name, "provider = cpu"))


def _open(weights: Path, inference: Inference, name: str) -> onnxruntime.InferenceSession:
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads(inference)
    session_options.inter_op_num_threads = 1
    # Threads that wait by spinning take a core from everything else that runs beside the network.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session_options.log_severity_level = _ERRORS_ONLY
    if name == CPU and inference.memory_mb is not None:
        _cap_arena(inference.memory_mb)
        session_options.add_session_config_entry("session.use_env_allocators", "1")
        # Running into the limit is what the halving is for; it says so itself.
        session_options.log_severity_level = _FATAL_ONLY
    session = onnxruntime.InferenceSession(
        str(weights), session_options, providers=[(name, options(name, inference, weights))]
    )
    session.disable_fallback()
    return session


def _cap_arena(memory_mb: int) -> None:
    """The next session that shares the environment's arena gets one of its own with this limit."""
    arena = onnxruntime.OrtArenaCfg({"max_mem": memory_mb * 2**20, "arena_extend_strategy": 1})
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, arena)


def first_line(error: Exception) -> str:
    """The first line of an error's text, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
