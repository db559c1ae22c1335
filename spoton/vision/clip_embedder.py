"""CLIP's picture half (Radford et al. 2021) as an embedder, through transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton.errors import ModelError
from spoton.vision.protocols import Picture

NAME = "clip"
ORIGIN = "openai/clip-vit-base-patch32"
"""What ``clip`` means unless the folder holds another CLIP."""
LICENCE = "MIT"
CONFIG = "config.json"
_TYPES = ("clip", "clip_vision_model")
_LARGEST_BATCH = 16
_MISSING = "install it with `pip install 'spoton[models]'`"


def find(weights_dir: Path) -> Path | None:
    """The folder ``clip`` below the folder of weights; None when no model lies there."""
    folder = weights_dir / NAME
    return folder if (folder / CONFIG).is_file() else None


def remedy(weights_dir: Path) -> str:
    """How the weights get where ``find`` looks for them."""
    return f"get them with `hf download {ORIGIN} --local-dir {weights_dir / NAME}`, or give a folder of your own"


class ClipEmbedder:
    """Describes people with a CLIP picture network, from RGB crops that are padded to a square.

    folder: as ``save_pretrained`` leaves it: config.json, weights, and preprocessor_config.json where the preparation
    differs from OpenAI's. Of a network with a projection (``CLIPModel``, ``CLIPVisionModelWithProjection``) the
    projected row is taken, the one that CLIP compares; of a plain ``CLIPVisionModel`` the pooled one. device: as torch
    names it; ``auto`` takes the GPU where there is one. Nothing is downloaded.

    CLIP's own preparation cuts a centred square out of a picture; of somebody who stands it would leave the belly.
    Hence the padding, with CLIP's mean colour, which becomes zero; everything after it is CLIPImageProcessor's.

    Raises ModelError without torch and transformers, and for weights that are missing, damaged, incomplete, of another
    kind, or that give NaN.
    """

    def __init__(self, folder: Path, *, name: str = NAME, device: str = "auto") -> None:
        self.name = name
        self.folder = folder
        config = _config(folder)
        torch, transformers = _libraries()
        self._torch = torch
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._projected = "CLIPVisionModel" not in config.get("architectures", ())
        kind = transformers.CLIPVisionModelWithProjection if self._projected else transformers.CLIPVisionModel
        self._model = _loaded(kind, folder, transformers).eval().to(self.device)
        self._processor = _processor(folder, self._model.config, transformers)
        self._fill = np.round(255.0 * np.array(self._processor.image_mean)).astype(np.uint8)
        self.dim = self.run(self.tensor([np.full((64, 32, 3), 114, dtype=np.uint8)])).shape[1]

    def embed(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """(N, dim) float32 rows of unit length, one per RGB crop; an empty crop gives the row of a black one.

        Raises ModelError when the network gives NaN.
        """
        if len(crops) == 0:
            return np.zeros((0, self.dim), dtype=np.float32)
        parts = [
            self.run(self.tensor(crops[start : start + _LARGEST_BATCH]))
            for start in range(0, len(crops), _LARGEST_BATCH)
        ]
        rows = np.concatenate(parts)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.where(lengths > 0.0, rows / np.maximum(lengths, 1e-12), 1.0 / np.sqrt(self.dim))
        return np.asarray(rows, dtype=np.float32)

    def tensor(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """(N, 3, side, side): what the network gets for RGB crops."""
        squares = [self._square(crop) for crop in crops]
        prepared = self._processor(images=squares, return_tensors="np", input_data_format="channels_last")
        return np.asarray(prepared["pixel_values"], dtype=np.float32)

    def _square(self, crop: Picture) -> Picture:
        if crop.size == 0:
            crop = np.zeros((1, 1, 3), dtype=np.uint8)
        height, width = crop.shape[:2]
        side = max(height, width)
        square = np.empty((side, side, 3), dtype=np.uint8)
        square[:] = self._fill
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = crop
        return square

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's rows (N, dim), of any length, for (N, 3, side, side)."""
        with self._torch.inference_mode():
            try:
                output = self._model(pixel_values=self._torch.from_numpy(tensor).to(self.device))
            except (RuntimeError, ValueError) as error:
                raise ModelError(
                    f"{self.folder}: the network failed on input {list(tensor.shape)}: {_line(error)}",
                    remedy="choose other weights",
                ) from error
            rows = (output.image_embeds if self._projected else output.pooler_output).float().cpu().numpy()
        if rows.ndim != 2 or len(rows) != len(tensor):
            raise ModelError(
                f"{self.folder}: output of shape {list(rows.shape)} for {len(tensor)} pictures",
                remedy="choose other weights",
            )
        if not np.isfinite(rows).all():
            raise ModelError(
                f"{self.folder}: the output holds NaN or infinity", remedy="the weights are damaged; get them again"
            )
        return np.asarray(rows, dtype=np.float32)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path}: no CLIP network there: {error.strerror or error}",
            remedy="give the folder that holds its config.json and weights",
        ) from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON: {error}", remedy="get the file again") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in _TYPES:
        raise ModelError(f"{path}: model_type = {kind!r} is no CLIP", remedy=f"it has to be one of {', '.join(_TYPES)}")
    return dict(config)


def _libraries() -> tuple[Any, Any]:
    try:
        import PIL  # noqa: F401  (transformers prepares pictures with it, but does not bring it)
        import torch
        import transformers
    except ImportError as error:
        raise ModelError(f"CLIP needs torch, transformers and Pillow: {_line(error)}", remedy=_MISSING) from error
    return torch, transformers


def _loaded(kind: Any, folder: Path, transformers: Any) -> Any:
    with _quiet(transformers):
        try:
            model, told = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        except Exception as error:
            raise ModelError(
                f"{folder}: weights that cannot be read: {_line(error)}",
                remedy="they may be cut short or of another network; get them again",
            ) from error
    # A weight that is not in the file would be left to chance.
    missing = sorted(told["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weights of the network are not there, {missing[0]} among them",
            remedy="they are of another network; get them again",
        )
    return model


def _processor(folder: Path, config: Any, transformers: Any) -> Any:
    # The one that works on arrays and needs no torchvision has a name of its own since transformers 5.
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    side = int(config.image_size)
    if not (folder / "preprocessor_config.json").is_file():
        return kind(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    with _quiet(transformers):
        try:
            return kind.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise ModelError(
                f"{folder / 'preprocessor_config.json'}: cannot be used: {_line(error)}", remedy="get the file again"
            ) from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and no reports: what goes wrong is raised."""
    talk = transformers.utils.logging
    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
