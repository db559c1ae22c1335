"""Small networks with random weights for every detector backend; those of PyTorch need the extra `models`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from spoton.vision.detector_contract import picture

_spec = importlib.util.spec_from_file_location("onnx_graphs", Path(__file__).with_name("onnx_graphs.py"))
graphs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(graphs)

SIDE = 64
CELLS = 64 + 16 + 4
MEAN = {"yolov8": 0.5, "yolov5": 0.5, "yolox": 127.0, "picodet": 0.22}
"""About the mean of a prepared picture, which the answers are multiplied with."""


def onnx_tables(family: str, seed: int = 5) -> list[np.ndarray]:
    """What a network of the family might put out for a picture: some dozen people, sure and unsure, overlapping."""
    rng = np.random.default_rng(seed)
    if family == "picodet":
        scores = [0.55 * rng.uniform(0, 1, (cells, 3)) ** 3 for cells in (64, 16, 4, 1)]
        return scores + [rng.normal(0, 2, (cells, 32)) for cells in (64, 16, 4, 1)]
    rows = 3 * CELLS if family == "yolov5" else CELLS
    sizes = rng.uniform(6, 40, (rows, 2))
    table = np.concatenate([rng.uniform(0, SIDE, (rows, 2)), sizes, rng.uniform(0.2, 1, (rows, 4))], axis=1)
    table[:, 4:] **= 3
    if family == "yolox":
        table[:, :2] = rng.uniform(-0.5, 1.5, (rows, 2))
        table[:, 2:4] = rng.uniform(-1, 1, (rows, 2))
    return [table.T if family == "yolov8" else table]


def write_onnx(path: Path, family: str, batch: int | str = "batch") -> Path:
    """An ONNX file of the family, whose answers hang on the picture's mean."""
    tables = [(table / MEAN[family]).astype(np.float32) for table in onnx_tables(family)]
    return graphs.write_tables(path, tables, input_shape=[batch, 3, SIDE, SIDE])


def save_rtdetr(folder: Path, version: str = "rt_detr", classes: tuple[str, ...] = ("person", "car", "dog")) -> Path:
    """An RT-DETR or RT-DETRv2 of some hundred thousand random weights, saved as the hub's are."""
    import torch
    import transformers

    kinds = {
        "rt_detr": (transformers.RTDetrConfig, transformers.RTDetrForObjectDetection),
        "rt_detr_v2": (transformers.RTDetrV2Config, transformers.RTDetrV2ForObjectDetection),
    }
    config, model = kinds[version]
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    torch.manual_seed(3)
    made = model(
        config(
            backbone_config=backbone,
            encoder_hidden_dim=32,
            encoder_in_channels=[16, 16, 16],
            encoder_layers=1,
            encoder_ffn_dim=32,
            encoder_attention_heads=2,
            d_model=32,
            num_queries=30,
            num_denoising=0,
            decoder_in_channels=[32, 32, 32],
            decoder_ffn_dim=32,
            decoder_attention_heads=2,
            decoder_layers=2,
            decoder_n_points=2,
            id2label=dict(enumerate(classes)),
            label2id={n: i for i, n in enumerate(classes)},
        )
    ).eval()
    with torch.no_grad():
        # Random heads say 0.01 of everything: spread what they say.
        for head in [made.model.enc_score_head, *made.model.decoder.class_embed]:
            head.weight.normal_(0, 0.8)
            head.bias.zero_()
    made.save_pretrained(folder)
    transformers.RTDetrImageProcessor(size={"height": 160, "width": 160}).save_pretrained(folder)
    return folder


def _narrow(design: str, beside: Path) -> Path:
    """An RT-DETR of the library with a quarter of the channels, and the decoder cut to what a test can wait for."""
    import yaml
    from ultralytics.nn.tasks import yaml_model_load

    described = yaml_model_load(design)
    for *_, args in [*described["backbone"], *described["head"]]:
        args[:] = [one // 4 if isinstance(one, int) and one >= 32 else one for one in args]
    hidden, queries, points, heads, layers = 64, 100, 4, 8, 2
    described["head"][-1][-1] = ["nc", hidden, queries, points, heads, layers]
    # The library knows what it is by the file's name.
    path = beside.with_name(design)
    path.write_text(yaml.safe_dump(described))
    return path


def save_ultralytics(path: Path, design: str = "yolov8n.yaml") -> Path:
    """A checkpoint of ultralytics with random weights."""
    import torch
    import ultralytics

    torch.manual_seed(3)
    made = ultralytics.RTDETR(str(_narrow(design, path))) if "rtdetr" in design else ultralytics.YOLO(design)
    if "rtdetr" not in design:
        # The library gives each box its best class only; with one class that is the person, as we read it.
        made.model = type(made.model)(design, nc=1, verbose=False)
    made.model.eval()
    # Untrained normalisation lets everything fade away: it is fitted to one batch.
    for layer in made.model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.train()
            layer.momentum = 1.0
    layers = [one for one in made.model.model[-1].modules() if isinstance(one, (torch.nn.Conv2d, torch.nn.Linear))]
    heads = [one for one in layers if one.bias is not None and one.weight.shape[0] == made.model.yaml["nc"]]
    images = np.stack([picture(160, 160, seed).transpose(2, 0, 1) for seed in range(4)])
    with torch.no_grad():
        made.model(torch.from_numpy(images).float() / 255)
        made.model.eval()
        for head in heads:
            head.weight.normal_()
            head.bias.zero_()
        # Logits of spread 1 about -1, those of people higher, or of 80 random classes they would be one in 80.
        spreads = {}
        hooks = [head.register_forward_hook(lambda one, _, out: spreads.update({one: out.std()})) for head in heads]
        made.model(torch.from_numpy(images).float() / 255)
        for hook in hooks:
            hook.remove()
        for head, spread in spreads.items():
            head.weight /= spread
            head.bias.fill_(-1.0)[0] = 0.5 if "rtdetr" in design else -1.0
    made.save(str(path))
    # As after a training run with that size.
    torch.save({**torch.load(path, weights_only=False), "train_args": {"imgsz": 160}}, path)
    return path
