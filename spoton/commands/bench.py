"""``spoton bench``: every benchmark by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from spoton.commands.options import Json, show, weights_folder
from spoton.errors import InputError


def bench(
    name: Annotated[
        str, typer.Argument(help="clocks, detection, embedders, engine, faults, fusion, gallery, gpu, soak, tracking")
    ],
    as_json: Json = False,
    shared: Annotated[
        Path, typer.Option(envvar="SPOTON_SHARED", help="Folder with the data that the figure is measured on.")
    ] = Path("../shared"),
    only: Annotated[
        str | None, typer.Option(help="engine: hop, latency or scaling; faults: those with this in the name.")
    ] = None,
    sequence: Annotated[
        list[str] | None,
        typer.Option(help="tracking, fusion: a folder, below seqs or by its path, and its rate, as in MOT17-02=30."),
    ] = None,
    crops: Annotated[
        Path | None, typer.Option(help="embedders: folder of labelled crops [default: train/reid in --shared].")
    ] = None,
    detector: Annotated[str, typer.Option(help="gpu, soak: as a site file names one.")] = "yolox-nano",
    frames: Annotated[int, typer.Option(min=100, help="soak: how many frames.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=1.0, help="gpu: how long each load is held.")] = 10.0,
) -> None:
    """Measure, on data named in docs/performance.md, beside a named peer or a raw floor."""
    from importlib import import_module

    on_data = {"detection": "spoton.offline.detection_bench", "fusion": "spoton.offline.fusion_bench"}
    by_itself = {"engine": "spoton.offline.engine_bench", "faults": "spoton.trials.faults"}
    alone = {"clocks": "spoton.offline.clock_bench", "gallery": "spoton.offline.gallery_bench"}
    if name == "fusion" and sequence:
        module = import_module("spoton.offline.fusion_bench")
        show(module.run(shared, rows=module.parse_rows(sequence), sizes=()), module.render, as_json)
    elif name in on_data:
        module = import_module(on_data[name])
        show(module.run(shared), module.render, as_json)
    elif name in ("gpu", "soak"):
        from spoton.vision.inference import Inference

        module = import_module(f"spoton.offline.{name}_bench")
        settings = {"weights_dir": weights_folder(shared / "weights"), "inference": Inference.from_env(os.environ)}
        amount = {"seconds": seconds} if name == "gpu" else {"frames": frames}
        show(module.run(shared, detector=detector, **amount, **settings), module.render, as_json)
    elif name == "tracking":
        module = import_module("spoton.offline.tracking_bench")
        chosen = module.parse_sequences(sequence) if sequence else module.SEQUENCES
        show(module.run(shared, sequences=chosen), module.render, as_json)
    elif name == "embedders":
        module = import_module("spoton.offline.embedder_bench")
        show(module.run(crops or shared / "train" / "reid", shared / "weights"), module.render, as_json)
    elif name in alone:
        module = import_module(alone[name])
        show(module.run(), module.render, as_json)
    elif name in by_itself:
        module = import_module(by_itself[name])
        show(module.run(only), module.render, as_json)
    else:
        known = ", ".join(sorted((*on_data, *by_itself, *alone, "embedders", "gpu", "soak", "tracking")))
        raise InputError(f"bench {name!r} is not known", remedy=f"choose from: {known}")
