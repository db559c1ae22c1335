"""``spoton sim`` and ``spoton sim fit-noise``: the command line of the simulator."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from spoton.commands.options import Json
from spoton.errors import InputError

sim_app = typer.Typer(help="A simulated floor as a folder: detections, truth, cameras, site file, pictures.")


@sim_app.callback(
    invoke_without_command=True,
    epilog="Example: spoton sim --out hall --floor 60x40 --people 200 --cameras 12 --seconds 60 --seed 7",
)
def sim(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder to write, new or empty.")] = None,
    floor: Annotated[str, typer.Option(help="Width x depth in metres.")] = "60x40",
    people: Annotated[int, typer.Option(help="How many are about, 0 to 5000.")] = 100,
    cameras: Annotated[int, typer.Option(help="How many, 1 to 500.")] = 8,
    rig: Annotated[
        str, typer.Option(help="grid, corridor, ring; gaps: 8 cameras with places between them that none sees.")
    ] = "grid",
    fps: Annotated[float, typer.Option(help="Frames per second of every camera.")] = 10.0,
    seconds: Annotated[float, typer.Option(help="How long.")] = 60.0,
    size: Annotated[str, typer.Option(help="Width x height of pictures in pixels.")] = "640x480",
    seed: Annotated[int, typer.Option(help="Another seed, another world; the same one, the same bytes.")] = 7,
    groups: Annotated[float, typer.Option(help="Share of people who walk in groups of two to four, 0 to 1.")] = 0.3,
    crowding: Annotated[float, typer.Option(help="Share of ways that lead to where all like to go, 0 to 1.")] = 0.3,
    returns: Annotated[float, typer.Option(help="Share of those who leave and come back, 0 to 1.")] = 0.5,
    skew_ms: Annotated[float, typer.Option(help="Each camera's clock is off by up to this, either way.")] = 0.0,
    dropout: Annotated[float, typer.Option(help="Share of frames that never come, 0 to 0.95.")] = 0.0,
    dropout_s: Annotated[float, typer.Option(help="Mean length of a drop-out in seconds; 0: single frames.")] = 0.0,
    noise: Annotated[
        str, typer.Option(help="Detector's mistakes: usual, a file of fit-noise, or none for exact boxes.")
    ] = "usual",
    pictures: Annotated[str, typer.Option(help="none, jpeg (folders) or video.")] = "none",
    as_json: Json = False,
) -> None:
    """Simulate people walking under many cameras: what cameras would detect, and the exact truth about it."""
    if context.invoked_subcommand is not None:
        return
    from spoton.sim import noise as noises
    from spoton.sim.scenario import Scenario, pair_of
    from spoton.sim.writing import write_simulation

    if out is None:
        raise InputError("--out is missing", remedy="name the folder to write, as in --out hall")
    width, height = pair_of("size", size)
    scenario = Scenario(
        seed=seed, people=people, floor_m=pair_of("floor", floor), cameras=cameras, rig=rig, fps=fps,
        size_px=(int(width), int(height)), groups=groups, crowding=crowding, returns=returns, skew_ms=skew_ms,
        dropout=dropout, dropout_s=dropout_s,
    )  # fmt: skip
    model = None if noise == "none" else noises.usual_noise() if noise == "usual" else noises.read_noise(Path(noise))
    with _progress() as tick:
        result = write_simulation(scenario, out, seconds, model, pictures, tick)
    if as_json:
        typer.echo(json.dumps(result))
        return
    typer.echo(
        f"{out}: {result['cameras']} cameras, {result['frames']} frames, {result['persons']} people, "
        f"{result['truth_boxes']} true boxes, {result['detections']} detections, "
        f"{result['frames_per_second']:g} frames/s ({result['camera_frames_per_second']:g} of one camera)"
    )
    typer.echo(f"track it: spoton track --detections {out}/det --site {out}/site.toml --fps {fps:g} --out tracks")
    typer.echo(f"score it: spoton eval {out}/gt tracks --area {out}/area.json")


@sim_app.command(
    "fit-noise",
    epilog="Example: spoton sim fit-noise gt/cam.txt cam.mp4 --detector picodet-s --fps 10 --out noise.toml",
)
def fit_noise(
    truth: Annotated[Path, typer.Argument(help="Folder of true <camera>.txt, or one such file.")],
    detections: Annotated[
        Path, typer.Argument(help="The detections of the same cameras; with --detector, a video or picture folder.")
    ],
    out: Annotated[Path, typer.Option(help="The noise file to write (TOML).")],
    fps: Annotated[float, typer.Option(help="Frames per second.")],
    size: Annotated[
        str | None, typer.Option(help="Width x height of the pictures [default: from cameras.json or the recording].")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="Run this one: built-in, a known model's name, or a path to .onnx weights.")
    ] = None,
    truth_scale: Annotated[float, typer.Option(help="What the truth's pixels are multiplied with.")] = 1.0,
    score_min: Annotated[float, typer.Option(help="Detections below are left out.")] = 0.1,
    as_json: Json = False,
) -> None:
    """Fit the simulator's detector to a real one, from what it found and what was there."""
    import msgspec

    from spoton.sim.noise import noise_text
    from spoton.sim.noise_data import fit
    from spoton.sim.scenario import pair_of
    from spoton.vision.weights import default_folder

    size_px = None
    if size is not None:
        width, height = pair_of("size", size)
        size_px = int(width), int(height)
    with _progress() as tick:
        model = fit(
            truth, detections, fps=fps, size_px=size_px, detector=detector, weights_dir=default_folder(os.environ),
            truth_scale=truth_scale, score_min=score_min, progress=lambda done: tick("pictures looked at", done, 0),
        )  # fmt: skip
    try:
        out.write_text(noise_text(model), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out = {str(out)!r} cannot be written: {error}", remedy="name another file") from error
    values: dict[str, Any] = msgspec.to_builtins(model)
    typer.echo(json.dumps(values) if as_json else f"{out}: fitted to {model.fitted['true_boxes']} true boxes")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Bars by name on standard error; a total of 0 is one that is not known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    console = Console(stderr=True)
    # Away from a terminal a bar that was never filled would still leave an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def tick(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = bars.add_task(part, total=total or None)
            bars.update(tasks[part], completed=done)

        yield tick
