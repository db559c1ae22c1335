"""Which detector and which embedder run: by name, by path, or the best there is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import structlog

from spoton.errors import ModelError
from spoton.vision import clip_embedder
from spoton.vision.backends import open_detector, split
from spoton.vision.builtin_detector import BuiltinDetector
from spoton.vision.histogram_embedder import HistogramEmbedder
from spoton.vision.inference import Inference
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.onnx_embedder import OnnxEmbedder
from spoton.vision.person_size import Standing
from spoton.vision.protocols import Detector, Embedder
from spoton.vision.tiling import TiledDetector
from spoton.vision.weights import CATALOGUE, find, known

BEST_DETECTOR = "picodet-s"
"""The detector that is taken when its weights are there and nothing else was asked for."""

TILED = "+tiles"
"""Behind a model's name or path: look at overlapping tiles of large pictures too."""

_log = structlog.get_logger(__name__)


def make_detector(
    spec: str | None,
    *,
    weights_dir: Path,
    standing_px: Standing | None = None,
    fps: float = 10.0,
    threads: int | None = None,
    inference: Inference | None = None,
) -> Detector:
    """A detector; says in the log which one and why.

    spec: None or ``auto`` takes PicoDet-S when its weights are there, else the built-in one; ``built-in``; the name of
    a known model; the path of an .onnx file; or ``scheme:what`` for an installed backend, as in
    ``transformers:/models/rtdetr`` and ``ultralytics:/models/yolo.pt``. ``+tiles`` behind any of the last three looks
    at overlapping tiles of large pictures too: slower, and finds smaller people.
    weights_dir: where known models lie. standing_px, fps: for the built-in detector, one per camera. threads:
    overrides those of ``inference``, which tells how networks are run.

    Raises ModelError when the weights are missing, damaged or of an unknown kind, or the device cannot be used.
    """
    inference = inference or Inference()
    if threads is not None:
        inference = dataclasses.replace(inference, threads=threads)
    if spec in (None, "", "auto"):
        path = find(BEST_DETECTOR, weights_dir)
        if path is None:
            _log.info(
                "detector chosen",
                detector=BuiltinDetector.name,
                reason=f"no weights of {BEST_DETECTOR} in {weights_dir}",
                remedy=f"spoton models pull {BEST_DETECTOR}",
            )
            return BuiltinDetector(standing_px=standing_px, fps=fps)
        _log.info("detector chosen", detector=BEST_DETECTOR, weights=str(path))
        return OnnxDetector(path, name=BEST_DETECTOR, inference=inference)
    if spec == BuiltinDetector.name:
        _log.info("detector chosen", detector=BuiltinDetector.name, reason="asked for")
        return BuiltinDetector(standing_px=standing_px, fps=fps)
    plain = str(spec).removesuffix(TILED)
    detector: Detector
    backend = split(plain)
    if backend is not None:
        detector = open_detector(*backend, inference)
        _log.info("detector chosen", detector=detector.name, backend=backend[0], tiled=plain != spec)
    else:
        asked, name = _weights(plain, "detector", weights_dir)
        _log.info("detector chosen", detector=name, weights=str(asked), tiled=plain != spec)
        detector = OnnxDetector(asked, name=name, inference=inference)
    return detector if plain == spec else TiledDetector(detector)


def make_embedder(spec: str | None, *, weights_dir: Path, threads: int | None = None) -> Embedder:
    """An embedder; says in the log which one.

    spec: None, ``auto`` or ``histogram`` takes the built-in histogram; ``osnet``; the path of an .onnx file; ``clip``,
    for a CLIP network in the folder ``clip`` of ``weights_dir``; or the path of a folder that holds one.

    Raises ModelError when the weights are missing, damaged or of an unknown kind.
    """
    if spec in (None, "", "auto", HistogramEmbedder.name):
        _log.info("embedder chosen", embedder=HistogramEmbedder.name)
        return HistogramEmbedder()
    folder = clip_embedder.find(weights_dir) if spec == clip_embedder.NAME else Path(str(spec)).expanduser()
    if folder is None:
        raise ModelError(
            f"{weights_dir / clip_embedder.NAME}: no CLIP network there", remedy=clip_embedder.remedy(weights_dir)
        )
    if folder.is_dir():
        name = spec if spec == clip_embedder.NAME else folder.resolve().name
        _log.info("embedder chosen", embedder=name, weights=str(folder))
        return clip_embedder.ClipEmbedder(folder, name=str(name))
    path, name = _weights(str(spec), "embedder", weights_dir)
    _log.info("embedder chosen", embedder=name, weights=str(path))
    return OnnxEmbedder(path, name=name, threads=threads)


def weights_of(spec: str, weights_dir: Path) -> Path:
    """The .onnx file that a detector's name or path means; raises ModelError when it is not there."""
    path, _ = _weights(spec, "detector", weights_dir)
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file", remedy="check the path, or run `spoton models list`")
    return path


def _weights(spec: str, task: str, weights_dir: Path) -> tuple[Path, str]:
    """Path and name of what was asked for."""
    if spec.endswith(".onnx"):
        path = Path(spec).expanduser()
        names = [each.name for each in CATALOGUE.values() if each.file == path.name]
        return path, names[0] if names else path.stem
    if spec not in CATALOGUE or CATALOGUE[spec].task != task:
        plain = "built-in" if task == "detector" else "histogram, clip"
        names = [each.name for each in CATALOGUE.values() if each.task == task]
        raise ModelError(
            f"{task} {spec!r} is not known",
            remedy=f"choose auto, {plain}, {', '.join(names)}, or the path of an .onnx file",
        )
    found = find(spec, weights_dir)
    if found is None:
        raise ModelError(
            f"{weights_dir / known(spec).file}: no weights of {spec} there", remedy=f"run `spoton models pull {spec}`"
        )
    return found, spec
