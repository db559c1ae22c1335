"""How one weights file is used: found out from its graph, corrected by a small TOML file beside it.

``picodet.toml`` beside ``picodet.onnx`` may say, each key optional::

    decoder = "yolov8"          # picodet, yolox, yolov5, yolov8, suppressed, rtdetr, ranked, detr
    person_class = 0            # index of the class "person"
    input = [640, 640]          # width, height, for graphs that leave them open
    fit = "centre"              # stretch, corner, centre
    colour = "rgb"              # rgb, bgr
    mean = [0.0, 0.0, 0.0]      # on values 0 to 255, in the order of colour
    std = [255.0, 255.0, 255.0]
    pad = 114
    smooth = false              # cubic interpolation
"""

from __future__ import annotations

import ast
import dataclasses
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spoton.errors import ModelError
from spoton.vision.decoders import DECODERS, class_count, recognise
from spoton.vision.onnx_graph import Graph
from spoton.vision.preparation import Channels, Fit, Preparation

IMAGENET_MEAN: Channels = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD: Channels = (0.229 * 255, 0.224 * 255, 0.225 * 255)
_OPEN_SIDE_PX = 640
_CHOICES: dict[str, tuple[str, ...]] = {
    "decoder": tuple(DECODERS),
    "fit": ("stretch", "corner", "centre"),
    "colour": ("rgb", "bgr"),
}
_PREPARATION_KEYS = ("fit", "colour", "mean", "std", "pad", "smooth")
_KEYS = ("decoder", "person_class", "input", *_PREPARATION_KEYS)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Decoder by name, preparation of pictures, index of the person class, whether YOLOX output is still per cell."""

    decoder: str
    preparation: Preparation
    person: int
    raw_grid: bool


def detector_recipe(graph: Graph) -> Recipe:
    """The recipe of a people detector.

    Output shapes are read from a run on a grey picture, so graphs with open sides are recognised too.
    Raises ModelError when no decoder fits the outputs, when there is no person class, or when the TOML is wrong.
    """
    declared = read_declaration(graph.path)
    width, height = input_size(graph, declared)
    outputs = graph.run(np.full((1, 3, height, width), 114.0, dtype=np.float32))
    shapes = [output.shape for output in outputs]
    decoder = declared.get("decoder") or recognise(shapes, width, height)
    if decoder is None:
        listed = ", ".join(str(list(shape)) for shape in shapes)
        raise graph.unknown(f"no decoder knows outputs of shape {listed}")
    fitting = decoder in ("suppressed", "yolov8", "rtdetr", "ranked") or recognise(shapes, width, height) == decoder
    if not fitting or len(shapes[0]) != 3:
        raise graph.unknown(f"decoder {decoder!r} does not fit these outputs")
    preparation = dataclasses.replace(
        _preparation(decoder, width, height), **{key: declared[key] for key in _PREPARATION_KEYS if key in declared}
    )
    raw_grid = decoder == "yolox" and bool(outputs[0][0, :, 0].max() < width / 2)
    return Recipe(decoder, preparation, _person(graph, declared, class_count(decoder, shapes)), raw_grid)


def embedder_preparation(graph: Graph) -> Preparation:
    """How crops are prepared for a re-identification graph: RGB, ImageNet statistics, ratio not kept.

    Raises ModelError when the TOML beside the weights is wrong.
    """
    declared = read_declaration(graph.path)
    width, height = input_size(graph, declared, open_width=128, open_height=256)
    plain = Preparation(width, height, "stretch", "rgb", IMAGENET_MEAN, IMAGENET_STD)
    return dataclasses.replace(plain, **{key: declared[key] for key in _PREPARATION_KEYS if key in declared})


def input_size(
    graph: Graph, declared: dict[str, Any], *, open_width: int = _OPEN_SIDE_PX, open_height: int = _OPEN_SIDE_PX
) -> tuple[int, int]:
    """Width and height in pixels: the graph's, else the declared ones, else the given ones."""
    wish_width, wish_height = declared.get("input", (open_width, open_height))
    height, width = graph.height_width
    return width or wish_width, height or wish_height


def read_declaration(weights: Path) -> dict[str, Any]:
    """What the TOML file beside the weights says, checked; empty without one.

    Raises ModelError naming file, key and value.
    """
    path = weights.with_suffix(".toml")
    if not path.is_file():
        return {}
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not valid TOML: {error}", remedy="correct or remove it") from error
    for key, value in declared.items():
        problem = _problem(key, value)
        if problem:
            raise ModelError(f"{path}: {key} = {value!r}: {problem}", remedy="correct or remove the key")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in declared.items()}


def _problem(key: str, value: Any) -> str:
    """What is wrong with one declared value; empty when nothing is."""
    if key not in _KEYS:
        return f"unknown key, the keys are {', '.join(_KEYS)}"
    if key in _CHOICES:
        return "" if value in _CHOICES[key] else f"must be one of {', '.join(_CHOICES[key])}"
    if key == "smooth":
        return "" if isinstance(value, bool) else "must be true or false"
    if key in ("person_class", "pad"):
        plain = isinstance(value, int) and not isinstance(value, bool)
        return "" if plain and 0 <= value <= 255 else "must be a whole number from 0 to 255"
    if key == "input":
        fits = _numbers(value, 2) and all(isinstance(side, int) and side >= 32 for side in value)
        return "" if fits else "must be width and height in pixels, whole numbers of at least 32"
    if not _numbers(value, 3):
        return "must be three numbers"
    return "std must not hold 0" if key == "std" and 0 in value else ""


def _numbers(value: object, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value)
    )


def _preparation(decoder: str, width: int, height: int) -> Preparation:
    """What each family's own reference code does to a picture."""
    if decoder == "picodet":
        return Preparation(width, height, "stretch", "rgb", IMAGENET_MEAN, IMAGENET_STD, smooth=True)
    if decoder == "yolox":
        return Preparation(width, height, "corner", "bgr")
    fit: Fit = "stretch" if decoder in ("rtdetr", "ranked", "detr") else "centre"
    return Preparation(width, height, fit, "rgb", std=(255.0, 255.0, 255.0))


def _person(graph: Graph, declared: dict[str, Any], classes: int | None) -> int:
    """Index of the person class: declared, else from the exporter's class names, else 0 as in COCO."""
    person = int(declared["person_class"]) if "person_class" in declared else _named_person(graph)
    if classes is not None and person >= classes:
        raise graph.unknown(f"class {person} was asked for, the outputs score {classes} classes")
    return person


def _named_person(graph: Graph) -> int:
    text = graph.metadata.get("names", "")
    try:
        names = ast.literal_eval(text) if text else {}
    except (ValueError, SyntaxError):
        names = {}
    found = person_among(names)
    if found is None:
        raise graph.unknown(f"no class is named person among {', '.join(map(str, dict(names).values()))}")
    return found


def person_among(names: object) -> int | None:
    """Index of the person among class names by index; 0, as in COCO, where there are no telling names.

    None when there are names and none is that of a person.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or len(names) < 2 or all(str(name).isdecimal() for name in names.values()):
        return 0
    for index, name in names.items():
        if str(name).lower() in ("person", "pedestrian", "people"):
            return int(index)
    return 0 if all(re.fullmatch(r"LABEL_\d+", str(name)) for name in names.values()) else None
