"""A detector written as ONNX, in half precision or INT8 where wished, with a report of what that changed.

FP16 with ONNX Runtime's converter, INT8 with its quantiser (onnxruntime.ai, "Quantize ONNX Models"): static, calibrated
on pictures, or dynamic, of matrix products only. Of the pictures given every other one calibrates, and the report is of
the others.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from spoton.errors import InputError, ModelError
from spoton.offline.parity import compare
from spoton.vision.backends import split
from spoton.vision.choose import make_detector, weights_of
from spoton.vision.inference import Inference
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.protocols import Picture
from spoton.vision.providers import first_line

PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_MOST_PICTURES = 200
_SAME_LEAST = 0.95
_OPSET, _OPSET_PER_CHANNEL = 17, 13


def run(model: str, out: Path, *, precision: str, pictures: Path, weights_dir: Path) -> dict[str, Any]:
    """Write ``out`` and report how its answers differ from those of the model as it was.

    model: as a site file names a detector: a known model, an .onnx file, ``transformers:...`` or ``ultralytics:...``.
    pictures: folder of pictures; the more they are like the cameras', the more the report says.

    The result has ``file``, ``precision``, ``bytes``, ``bytes_before``, ``calibrated_on`` and what ``parity.compare``
    tells. Raises InputError for what cannot be used, ModelError when the model cannot be read or written in this way.
    """
    if precision not in PRECISIONS:
        raise InputError(f"--precision = {precision!r} is not known", remedy=f"choose from {', '.join(PRECISIONS)}")
    if out.suffix != ".onnx":
        raise InputError(f"--out = {str(out)!r} is no .onnx file", remedy="end its name in .onnx")
    shown = read_pictures(pictures)
    cpu = Inference(device="cpu", provider="cpu")
    with tempfile.TemporaryDirectory(dir=_folder(out)) as name:
        folder = Path(name)
        before = make_detector(model, weights_dir=weights_dir, inference=cpu)
        plain = folder / "plain.onnx"
        with _quiet():
            _as_onnx(model, before, plain, weights_dir)
        plain_detector = OnnxDetector(plain, inference=cpu)
        calibration = shown[::2] if precision == "int8" else []
        with _quiet():
            written = _converted(plain, plain_detector, precision, calibration)
        for file in (written, written.with_suffix(".toml")):
            if file.is_file():
                shutil.move(file, out.with_suffix(file.suffix))
        size_before = plain.stat().st_size if plain.is_file() else out.stat().st_size
    after = OnnxDetector(out, inference=cpu)
    return {
        "file": str(out),
        "precision": precision,
        "bytes": out.stat().st_size,
        "bytes_before": size_before,
        "calibrated_on": len(calibration),
        **compare(before, after, shown[1::2] if calibration else shown),
    }


def read_pictures(folder: Path) -> list[Picture]:
    """The pictures of a folder, RGB, by name, at most 200 evenly spread; InputError when there are fewer than two."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _PICTURES) if folder.is_dir() else []
    step = max(1, len(files) // _MOST_PICTURES)
    read = (cv2.imread(str(file), cv2.IMREAD_COLOR) for file in files[::step])
    shown = [np.asarray(cv2.cvtColor(one, cv2.COLOR_BGR2RGB), np.uint8) for one in read if one is not None]
    if len(shown) < 2:
        raise InputError(f"{folder}: {len(shown)} pictures that can be read", remedy="give a folder with more of them")
    return shown


def _folder(out: Path) -> Path:
    if not out.parent.is_dir():
        raise InputError(f"--out = {str(out)!r}: no such folder", remedy="make it first")
    return out.parent


def _as_onnx(model: str, detector: Any, plain: Path, weights_dir: Path) -> None:
    """Write the model as it is; a description beside an .onnx file comes with it."""
    backend = split(model)
    if backend is None:
        path = weights_of(model, weights_dir)
        shutil.copyfile(path, plain)
        if path.with_suffix(".toml").is_file():
            shutil.copyfile(path.with_suffix(".toml"), plain.with_suffix(".toml"))
        return
    scheme, what = backend
    try:
        if scheme == "ultralytics":
            _export_ultralytics(Path(what).expanduser(), plain)
        elif scheme == "transformers":
            _export_transformers(detector, plain)
        else:
            raise InputError(f"{model}: only transformers and ultralytics models can be exported", remedy="give .onnx")
    except (InputError, ModelError):
        raise
    except Exception as error:
        raise ModelError(
            f"{model}: cannot be written as ONNX: {type(error).__name__}: {first_line(error)}",
            remedy="pip install 'spoton[models]' brings what it needs; else choose another model",
        ) from error


def _export_ultralytics(path: Path, plain: Path) -> None:
    import ultralytics

    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / path.name
        shutil.copyfile(path, copy)
        shutil.move(ultralytics.YOLO(copy, verbose=False).export(format="onnx", dynamic=False, simplify=False), plain)


def _export_transformers(detector: Any, plain: Path) -> None:
    import onnx
    import torch

    class Plain(torch.nn.Module):  # type: ignore[misc]
        """Logits and boxes, nothing else."""

        def __init__(self) -> None:
            super().__init__()
            self.model = detector.model

        def forward(self, images: Any) -> Any:
            found = self.model(pixel_values=images)
            return found.logits, found.pred_boxes

    size = detector.processor.size
    example = torch.zeros(1, 3, size["height"], size["width"])
    torch.onnx.export(
        Plain().eval(), (example,), str(plain), input_names=["images"], output_names=["logits", "boxes"],
        opset_version=_OPSET, dynamo=False,
    )  # fmt: skip
    written = onnx.load(str(plain))
    onnx.helper.set_model_props(written, {"names": str(dict(detector.model.config.id2label))})
    onnx.save(written, str(plain))


def _converted(plain: Path, detector: OnnxDetector, precision: str, calibration: Sequence[Picture]) -> Path:
    """The file in the precision wished, beside the plain one."""
    if precision == "fp32":
        return plain
    try:
        import onnx
        import onnx.version_converter
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise ModelError(
            f"--precision {precision} needs onnx: {error}", remedy="pip install 'spoton[export]'"
        ) from error
    converted = plain.with_name("converted.onnx")
    if plain.with_suffix(".toml").is_file():
        shutil.copyfile(plain.with_suffix(".toml"), converted.with_suffix(".toml"))
    try:
        if precision == "fp16":
            onnx.save(convert_float_to_float16(onnx.load(str(plain))), str(converted))
            return converted
        prepared = plain.with_name("prepared.onnx")
        model = onnx.load(str(plain))
        if _opset(model) < _OPSET_PER_CHANNEL:
            model = onnx.version_converter.convert_version(model, _OPSET_PER_CHANNEL)
        raised = plain.with_name("raised.onnx")
        onnx.save(model, str(raised))
        quant_pre_process(str(raised), str(prepared), skip_symbolic_shape=True)
        if precision == "int8-dynamic":
            if not any(node.op_type == "MatMul" for node in model.graph.node):
                raise ModelError("int8-dynamic is for transformers, this graph has no MatMul", remedy="choose int8")
            quantization.quantize_dynamic(str(prepared), str(converted), op_types_to_quantize=["MatMul"])
            return converted
        quantization.quantize_static(
            str(prepared), str(converted), _Calibration(detector, calibration), per_channel=True,
            # What reads the boxes off stays as it is: eight bits are too few for pixels.
            op_types_to_quantize=["Conv"], nodes_to_exclude=_last_convolutions(onnx.load(str(prepared))),
            activation_type=quantization.QuantType.QUInt8,
        )  # fmt: skip
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{precision} cannot be made of this graph: {type(error).__name__}: {first_line(error)}",
            remedy="choose another --precision",
        ) from error
    return converted


def _opset(model: Any) -> int:
    return next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)


def _last_convolutions(model: Any) -> list[str]:
    """Names of the convolutions that no other follows: the heads, whose outputs are scores and pixels."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    before_another: dict[str, bool] = {}
    for node in reversed(model.graph.node):
        after = [reader for name in node.output for reader in readers.get(name, [])]
        before_another[node.name] = any(one.op_type == "Conv" or before_another[one.name] for one in after)
    return [node.name for node in model.graph.node if node.op_type == "Conv" and not before_another[node.name]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters and quantiser tell of every tensor, in the log and in warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Calibration:
    """Prepared pictures one by one, as the quantiser asks for them."""

    def __init__(self, detector: OnnxDetector, pictures: Sequence[Picture]) -> None:
        self._name = detector.graph.inputs[0].name
        self._tensors: Iterator[NDArray[np.float32]] = (detector.preparation.batch([one]) for one in pictures)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input; None at the end."""
        tensor = next(self._tensors, None)
        return None if tensor is None else {self._name: tensor}


def render(result: dict[str, Any], console: Console) -> None:
    """The report in plain lines."""
    console.print(f"{result['file']}: {result['bytes'] / 1e6:.1f} MB, before {result['bytes_before'] / 1e6:.1f} MB")
    if result["calibrated_on"]:
        console.print(f"calibrated on {result['calibrated_on']} pictures, compared on {result['pictures']} others")
    console.print(
        f"{result['people_before']} people before, {result['people_after']} after, {result['same']} the same "
        f"(overlap 0.5 or more, both surer than {result['score_min']})"
    )
    if result["same"]:
        console.print(
            f"their boxes lie {result['box_px_median']:.2f} px apart (worst {result['box_px_worst']:.1f}), "
            f"their scores {result['score_median']:.4f} (worst {result['score_worst']:.3f})"
        )
    if result["same"] < _SAME_LEAST * max(result["people_before"], result["people_after"]):
        console.print("many of the people are not the same: measure it on your cameras before you use it")
    console.print(f"{result['ms_before']:.1f} ms a picture before, {result['ms_after']:.1f} ms after, on this CPU")
