"""``spoton models``: weights listed, fetched, checked and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spoton.commands.options import Json, Weights, show, weights_folder
from spoton.errors import ModelError

models_app = typer.Typer(help="Model weights: which there are, and how to get them.", no_args_is_help=True)


@models_app.command("list", epilog="Example: spoton models list --json")
def models_list(as_json: Json = False) -> None:
    """Known models, their licences, and which are here."""
    from spoton.offline import models

    show(models.listed(weights_folder(None)), models.render_list, as_json)


@models_app.command("pull", epilog="Example: spoton models pull picodet-s")
def models_pull(
    name: Annotated[str, typer.Argument(help="A name from `spoton models list`.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A file from elsewhere instead of a download; checked all the same.")
    ] = None,
) -> None:
    """Download weights from the project's release, with checksum; goes on where it was cut off."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from spoton.vision import clip_embedder, weights

    folder = weights_folder(None)
    if name == clip_embedder.NAME:
        raise ModelError("clip: not part of the project's release", remedy=clip_embedder.remedy(folder))
    one = weights.known(name)
    if source is not None:
        path = weights.take(name, source, folder)
    else:
        with Progress("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
            task = progress.add_task(name, total=one.size)
            path = weights.pull(name, folder, lambda done, total: progress.update(task, completed=done, total=total))
    typer.echo(f"{name}: {path}")
    typer.echo(f"{one.origin}; licence of the weights: {one.licence}")


@models_app.command("verify", epilog="Example: spoton models verify osnet")
def models_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names [default: all that are here].")] = None,
    as_json: Json = False,
) -> None:
    """Compare weights that are here with their checksums; exit code 1 when one is damaged."""
    from spoton.offline import models

    result = models.checked(names or [], weights_folder(None))
    show(result, models.render_checked, as_json)
    if any(one["problem"] for one in result["models"]):
        raise typer.Exit(1)


@models_app.command("export", epilog="Example: spoton models export picodet-s --pictures stills/ --out picodet.onnx")
def models_export(
    model: Annotated[str, typer.Argument(help="A known model, FILE.onnx, transformers:DIR or ultralytics:FILE.pt.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    pictures: Annotated[Path, typer.Option(help="Folder of pictures like the cameras': they calibrate and compare.")],
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8 (calibrated) or int8-dynamic.")] = "fp32",
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Write a detector as ONNX, smaller where wished, and report how its answers differ from the original's."""
    from spoton.offline import export

    result = export.run(
        model, out, precision=precision, pictures=pictures, weights_dir=weights_folder(weights)
    )
    show(result, export.render, as_json)
