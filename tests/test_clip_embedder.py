"""CLIP through transformers: a small network of chance weights, prepared as CLIPImageProcessor prepares.

Real weights are the user's to get; what is tested here is everything around them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from spoton.errors import ModelError
from spoton.vision.choose import make_embedder
from spoton.vision.clip_embedder import ClipEmbedder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def libraries():
    with warnings.catch_warnings():
        # What torch and transformers say of themselves while they are imported.
        warnings.simplefilter("ignore")
        import torch
        import transformers

        transformers.CLIPVisionModel, transformers.CLIPVisionModelWithProjection  # noqa: B018
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers


@pytest.fixture(scope="module")
def config(libraries):
    return libraries[1].CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16,
        projection_dim=24,
    )  # fmt: skip


@pytest.fixture
def plain(libraries, config, tmp_path):
    torch, transformers = libraries
    torch.manual_seed(1)
    model = transformers.CLIPVisionModel(config)
    model.save_pretrained(tmp_path / "plain")
    return tmp_path / "plain", model.eval()


@pytest.fixture
def projected(libraries, config, tmp_path):
    torch, transformers = libraries
    torch.manual_seed(1)
    model = transformers.CLIPVisionModelWithProjection(config)
    model.save_pretrained(tmp_path / "clip")
    return tmp_path / "clip", model.eval()


def crops(count=3):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (90 + 20 * k, 40 + 5 * k, 3), dtype=np.uint8) for k in range(count)]


def padded(crop):
    """CLIP's mean colour around it, to a square."""
    side = max(crop.shape[:2])
    square = np.zeros((side, side, 3), dtype=np.uint8) + np.array([123, 117, 104], dtype=np.uint8)
    top, left = (side - crop.shape[0]) // 2, (side - crop.shape[1]) // 2
    square[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    return square


def reference(transformers, side=64, **more):
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    return kind(size={"shortest_edge": side}, crop_size={"height": side, "width": side}, **more)


@pytest.mark.models
def test_the_network_gets_what_clips_own_processor_makes(libraries, plain):
    embedder = ClipEmbedder(plain[0], device="cpu")
    squares = [padded(crop) for crop in crops()]
    expected = reference(libraries[1])(images=squares, return_tensors="np")["pixel_values"]
    made = embedder.tensor(crops())
    assert made.shape == (3, 3, 64, 64)
    assert made.dtype == np.float32
    assert np.array_equal(made, expected)
    border = made[0][:, :, 0]
    assert np.abs(border).max() < 0.01, "what is added around a crop is CLIP's zero"


@pytest.mark.models
def test_a_preparation_beside_the_weights_is_followed(libraries, plain):
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    own = reference(libraries[1], image_mean=mean, image_std=std)
    own.save_pretrained(plain[0])
    made = ClipEmbedder(plain[0], device="cpu").tensor([np.full((64, 64, 3), 255, dtype=np.uint8)])
    assert made[0, :, 5, 5] == pytest.approx((1.0 - np.array(mean)) / std, abs=1e-5)


@pytest.mark.models
@pytest.mark.parametrize("kind", ["plain", "projected"])
def test_rows_are_what_the_network_says_at_unit_length(libraries, request, kind):
    torch, transformers = libraries
    folder, model = request.getfixturevalue(kind)
    embedder = ClipEmbedder(folder, device="cpu")
    pixels = reference(transformers)(images=[padded(crop) for crop in crops()], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        output = model(pixel_values=pixels)
    raw = (output.image_embeds if kind == "projected" else output.pooler_output).numpy()
    rows = embedder.embed(crops())
    assert embedder.dim == rows.shape[1] == (24 if kind == "projected" else 32)
    assert rows == pytest.approx(raw / np.linalg.norm(raw, axis=1, keepdims=True), abs=1e-5)
    assert rows.dtype == np.float32


@pytest.mark.models
def test_more_than_a_batch_keeps_its_order_and_nothing_gives_nothing(plain):
    embedder = ClipEmbedder(plain[0], device="cpu")
    many = crops(20)
    assert embedder.embed(many) == pytest.approx(np.concatenate([embedder.embed([one]) for one in many]), abs=1e-5)
    assert embedder.embed([]).shape == (0, 32)
    empty = embedder.embed([np.zeros((0, 9, 3), dtype=np.uint8)])
    assert np.linalg.norm(empty) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.models
def test_it_is_found_by_name_and_by_folder(projected):
    folder, _ = projected
    assert make_embedder("clip", weights_dir=folder.parent).name == "clip"
    made = make_embedder(str(folder), weights_dir=folder / "elsewhere")
    assert (made.name, made.dim) == ("clip", 24)


@pytest.mark.models
def test_weights_cut_short_are_one_error(plain):
    file = plain[0] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"plain: weights that cannot be read: .*; they may be cut short") as error:
        ClipEmbedder(plain[0])
    assert "\n" not in str(error.value)


@pytest.mark.models
def test_weights_of_another_network_are_one_error(plain):
    config = json.loads((plain[0] / "config.json").read_text())
    (plain[0] / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    with pytest.raises(ModelError, match=r"plain: weights that cannot be read"):
        ClipEmbedder(plain[0])
    (plain[0] / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError, match=r"plain: \d+ weights of the network are not there, .*layers\.2"):
        ClipEmbedder(plain[0])


@pytest.mark.models
def test_not_a_number_is_one_error(libraries, plain):
    torch, _ = libraries
    folder, model = plain
    with torch.no_grad():
        model.vision_model.post_layernorm.weight.fill_(float("nan")) if hasattr(
            model, "vision_model"
        ) else model.post_layernorm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"plain: the output holds NaN or infinity; the weights are damaged"):
        ClipEmbedder(folder)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(None, r"config.json: no CLIP network there: No such file", id="nothing there"),
        pytest.param("{", r"config.json: not valid JSON", id="cut short"),
        pytest.param('{"model_type": "bert"}', r"model_type = 'bert' is no CLIP", id="another network"),
        pytest.param("[]", r"model_type = None is no CLIP", id="a list"),
    ],
)
def test_a_folder_without_clip_is_named_before_torch_is_loaded(tmp_path, text, problem):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=problem):
        ClipEmbedder(tmp_path)


def test_clip_that_is_not_there_comes_with_the_way_to_it(tmp_path):
    with pytest.raises(ModelError, match=r"clip: no CLIP network there; get them with `hf download openai/clip-vit-b"):
        make_embedder("clip", weights_dir=tmp_path)


def test_without_transformers_one_line_says_what_to_install(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    code = (
        "import sys; sys.modules['transformers'] = None; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from spoton.errors import ModelError\n"
        "from spoton.vision.clip_embedder import ClipEmbedder\n"
        f"try: ClipEmbedder(Path({str(tmp_path)!r}))\n"
        "except ModelError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert said.count("\n") == 1
    assert "CLIP needs torch, transformers and Pillow" in said
    assert "pip install 'spoton[models]'" in said
