"""How networks are run on this machine: on which device, with what precision, in how much memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spoton.errors import InputError

PROVIDERS = ("auto", "cpu", "openvino", "cuda", "tensorrt")
PRECISIONS = ("auto", "fp32", "fp16")
DECODES = ("auto", "cpu")
LARGEST_BATCH = 16
_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d{1,2}))?")


@dataclass(frozen=True, slots=True)
class Inference:
    """What the operator of a machine decides about its networks; the defaults fit a machine without a GPU too.

    device: ``auto`` takes a GPU where one can be used, else the CPU; ``cpu``; ``cuda`` (the first GPU) or ``cuda:N``.
    provider: of ONNX Runtime; ``auto`` takes CUDA on a GPU, OpenVINO on a CPU where it is installed, else ONNX
    Runtime's own; TensorRT only runs when it is named, as it builds an engine for minutes at its first start.
    precision: ``auto`` is fp16 on a GPU and what the weights have elsewhere.
    batch_max: most pictures in one run, 1 to 256. batch_wait_ms: how long a picture may wait for pictures of other
    cameras, so that they go in one run; None: 5 ms on a GPU, none on a CPU.
    memory_mb: what one network may take in MiB beside its weights file; None: no limit. On the CPU it is the most that
    ONNX Runtime's arena holds, on a GPU the most that the provider's arena, or PyTorch, takes of it.
    threads: of one operator on the CPU; None takes two, or one on a single core. cache: folder for TensorRT's engines.
    decode: where pictures are decoded: ``auto`` on a GPU that also prepares them, where TorchCodec is there; ``cpu``.
    """

    device: str = "auto"
    provider: str = "auto"
    precision: str = "auto"
    batch_max: int = LARGEST_BATCH
    batch_wait_ms: float | None = None
    memory_mb: int | None = None
    threads: int | None = None
    cache: Path | None = None
    decode: str = "auto"

    def __post_init__(self) -> None:
        for key, value, choices in (
            ("provider", self.provider, PROVIDERS),
            ("precision", self.precision, PRECISIONS),
            ("decode", self.decode, DECODES),
        ):
            if value not in choices:
                raise InputError(f"{key} = {value!r} is not known", remedy=f"choose from {', '.join(choices)}")
        if not _DEVICE.fullmatch(self.device):
            raise InputError(f"device = {self.device!r} is no device", remedy="write auto, cpu, cuda or cuda:0")
        if self.device == "cpu" and self.provider in ("cuda", "tensorrt"):
            raise InputError(
                f"provider = {self.provider!r} does not run on device = 'cpu'",
                remedy="write device = 'cuda', or 'auto'",
            )
        if self.device.startswith("cuda") and self.provider in ("cpu", "openvino"):
            raise InputError(
                f"provider = {self.provider!r} does not run on device = {self.device!r}", remedy="write device = 'cpu'"
            )

    @property
    def gpu(self) -> int:
        """Number of the GPU, where one is used."""
        _, _, number = self.device.partition(":")
        return int(number or 0)

    @property
    def memory_bytes(self) -> int | None:
        """The budget in bytes."""
        return None if self.memory_mb is None else self.memory_mb * 2**20

    @classmethod
    def from_env(cls, environment: Mapping[str, str], cache: Path | None = None) -> Inference:
        """Read ``SPOTON_DEVICE``, ``SPOTON_PROVIDER``, ``SPOTON_PRECISION``, ``SPOTON_DECODE``, ``SPOTON_BATCH``,
        ``SPOTON_BATCH_WAIT_MS`` and ``SPOTON_DETECTOR_MEMORY_MB``; what is not set is as it is by default.

        Raises InputError naming the variable, its value and the remedy.
        """
        try:
            return cls(
                device=environment.get("SPOTON_DEVICE") or "auto",
                provider=environment.get("SPOTON_PROVIDER") or "auto",
                precision=environment.get("SPOTON_PRECISION") or "auto",
                decode=environment.get("SPOTON_DECODE") or "auto",
                batch_max=round(_number(environment, "SPOTON_BATCH", 1, 256) or LARGEST_BATCH),
                batch_wait_ms=_number(environment, "SPOTON_BATCH_WAIT_MS", 0, 1000, whole=False),
                memory_mb=_mebibytes(environment),
                cache=cache,
            )
        except InputError as error:
            if error.problem.startswith("SPOTON_"):
                raise
            key, mark, rest = error.problem.partition(" ")
            raise InputError(f"SPOTON_{key.upper()}{mark}{rest}", remedy=error.remedy) from None


def _mebibytes(environment: Mapping[str, str]) -> int | None:
    given = _number(environment, "SPOTON_DETECTOR_MEMORY_MB", 16, 1_000_000)
    return None if given is None else round(given)


def _number(
    environment: Mapping[str, str], name: str, least: float, most: float, *, whole: bool = True
) -> float | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    plain = re.fullmatch(r"\d{1,9}" if whole else r"\d{1,9}(\.\d{1,6})?", text)
    if not plain or not least <= float(text) <= most:
        kind = "whole number" if whole else "number"
        raise InputError(f"{name} = {text!r} is no {kind} from {least:g} to {most:g}", remedy="correct or unset it")
    return float(text)
