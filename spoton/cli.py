"""The ``spoton`` command. Every command's work lies elsewhere and is imported when it is called for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spoton import __version__, diagnostics
from spoton.errors import InputError, SpotOnError

app = typer.Typer(
    name="spoton",
    help="Tells who was where, from many cameras, live and afterwards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="Model weights: which there are, and how to get them.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Weights = Annotated[
    Path | None, typer.Option(help="Folder of model weights [default: $SPOTON_WEIGHTS or ~/.cache/spoton/weights].")
]
Data = Annotated[Path, typer.Option(help="Folder for the log and the embedded database.")]


def main() -> None:
    """Run the command line; a mistake of the user is one line and a non-zero exit."""
    diagnostics.configure(for_people=True)
    try:
        app(standalone_mode=True)
    except SpotOnError as error:
        print(f"spoton: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _weights_folder(given: Path | None) -> Path:
    from spoton.vision.weights import default_folder

    return given or default_folder(os.environ)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spoton {__version__}")
        raise typer.Exit


@app.callback()
def spoton(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tells who was where, from many cameras, live and afterwards."""


@app.command(epilog="Example: spoton demo --headless --seconds 30 --json")
def demo(
    seconds: Annotated[
        float | None, typer.Option(help="Stop after this long [default: when you press Ctrl-C].")
    ] = None,
    headless: Annotated[bool, typer.Option(help="No page; with --seconds, print what was measured.")] = False,
    as_json: Json = False,
    people: Annotated[int, typer.Option(min=1, max=40, help="How many walk on the plaza.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed, other walkers.")] = 7,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the page [default: 8321].")] = None,
    data: Annotated[Path | None, typer.Option(help="Keep log and database here [default: a temporary folder].")] = None,
    detector: Annotated[
        str, typer.Option(help="built-in, a known model's name, or a path to .onnx weights.")
    ] = "built-in",
) -> None:
    """Watch a simulated plaza: 4 cameras, 12 walking people, the whole way from pixels to the page."""
    from spoton.sim import demo as plaza_demo

    if headless and seconds is None:
        raise InputError("--headless without --seconds would never end", remedy="add --seconds 30")
    plaza_demo.run(
        plaza_demo.Wishes(
            seconds=seconds, headless=headless, as_json=as_json, people=people, seed=seed, port=port, data=data,
            detector=detector,
        )
    )  # fmt: skip


@app.command(epilog="Example: spoton up --site site.toml")
def up(
    site: Annotated[Path, typer.Option(help="The site file.")],
    data: Data = Path(".spoton"),
    broker: Annotated[
        str | None, typer.Option(help="log:///path or kafka://host:port [default: a log in --data].")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="postgresql://user:password@host/name [default: the embedded one in --data].")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address the page and the API listen on. There is no sign-in yet.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Their port; 0 takes a free one.")] = 8321,
    weights: Weights = None,
    accept_bad_calibration: Annotated[
        bool, typer.Option(help="Start although a camera's reprojection error is above the site's bound.")
    ] = False,
) -> None:
    """Watch a site's real cameras on this machine: detection, tracking, history, API and page in one process."""
    environment = os.environ | {
        "SPOTON_SITE": str(site),
        "SPOTON_DATA": str(data),
        "SPOTON_HOST": host,
        "SPOTON_PORT": str(port),
        "SPOTON_WEIGHTS": str(_weights_folder(weights)),
        "SPOTON_ACCEPT_BAD_CALIBRATION": "1" if accept_bad_calibration else "",
    }
    if broker:
        environment["SPOTON_BROKER"] = broker
    if database:
        environment["SPOTON_DATABASE"] = database
    # -P: a folder here that is called like one of our packages is not meant.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "faust_app"], environment)


@app.command(epilog="Example: spoton track video.mp4 --weights picodet-s --out tracks")
def track(
    out: Annotated[Path, typer.Option(help="Folder for the tracks.")],
    inputs: Annotated[list[str] | None, typer.Argument(help="Video files or folders of pictures.")] = None,
    site: Annotated[Path | None, typer.Option(help="Site file, for calibration and thresholds.")] = None,
    detections: Annotated[
        Path | None, typer.Option(help="Folder of <camera>.txt with detections instead of a detector.")
    ] = None,
    cameras: Annotated[
        Path | None, typer.Option(help="cameras.json with K, R, t [default: the one beside the detections].")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="A known model's name or a path to .onnx weights.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of detections and picture folders.")] = None,
) -> None:
    """Track recorded videos or detections offline; the same input gives the same output, byte for byte."""
    from spoton.offline import track as offline_track

    offline_track.run(
        inputs or [],
        out=out,
        site_file=site,
        detections_dir=detections,
        cameras_file=cameras,
        weights=weights,
        weights_dir=_weights_folder(None),
        fps=fps,
    )


@app.command("eval", epilog="Example: spoton eval truth/ tracks/ --json")
def evaluate(
    gt_dir: Annotated[Path, typer.Argument(help="Folder of truth, <camera>.txt and world.txt.")],
    tracks_dir: Annotated[Path, typer.Argument(help="Folder of tracks, the same names.")],
    area: Annotated[
        Path | None, typer.Option(help="area.json: floor polygon inside which world.txt is scored.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score tracks against truth: HOTA, IDF1, MOTA and identity switches per file."""
    from spoton.offline import evaluate as offline_evaluate

    _show(offline_evaluate.evaluate(gt_dir, tracks_dir, area), offline_evaluate.render, as_json)


@app.command(epilog="Example: spoton check site.toml")
def check(
    site: Annotated[Path, typer.Argument(help="The site file.")],
    accept_bad_calibration: Annotated[bool, typer.Option(help="Report, but do not refuse.")] = False,
) -> None:
    """Check a site file: every mistake by name, every camera's reprojection error in metres and pixels."""
    from rich.console import Console

    from spoton.offline import check as offline_check

    report = offline_check.check(site, accept_bad=accept_bad_calibration)
    offline_check.render(report, Console())
    if not report.accepted:
        raise typer.Exit(1)


@app.command(epilog="Example: spoton bench tracking --json")
def bench(
    name: Annotated[str, typer.Argument(help="detection or tracking")],
    as_json: Json = False,
    shared: Annotated[
        Path, typer.Option(envvar="SPOTON_SHARED", help="Folder with the data that the figure is measured on.")
    ] = Path("../shared"),
    sequence: Annotated[
        list[str] | None,
        typer.Option(help="tracking: a folder below seqs and its frames per second instead, as in MOT17-02=30."),
    ] = None,
) -> None:
    """Measure, on data named in docs/performance.md, beside a named peer or a raw floor."""
    if name == "detection":
        from spoton.offline import detection_bench

        _show(detection_bench.run(shared), detection_bench.render, as_json)
    elif name == "tracking":
        from spoton.offline import tracking_bench

        chosen = tracking_bench.parse_sequences(sequence) if sequence else tracking_bench.SEQUENCES
        _show(tracking_bench.run(shared, sequences=chosen), tracking_bench.render, as_json)
    else:
        raise InputError(f"bench {name!r} is not known", remedy="choose from: detection, tracking")


@models_app.command("list")
def models_list() -> None:
    """Known models, their licences, and which are here."""
    from rich.console import Console
    from rich.table import Table

    from spoton.vision import weights

    folder = _weights_folder(None)
    table = Table("name", "for", "size", "licence", "here")
    for one in weights.CATALOGUE.values():
        path = weights.find(one.name, folder)
        table.add_row(one.name, one.task, f"{one.size / 1e6:.1f} MB", one.licence, str(path) if path else "no")
    Console().print(table)
    typer.echo(f"Weights lie in {folder}; get them with: spoton models pull NAME")


@models_app.command("pull", epilog="Example: spoton models pull picodet-s")
def models_pull(name: Annotated[str, typer.Argument(help="A name from `spoton models list`.")]) -> None:
    """Download weights from the project's release, with checksum; goes on where it was cut off."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from spoton.vision import weights

    weights.known(name)
    with Progress("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task(name, total=weights.known(name).size)
        path = weights.pull(
            name, _weights_folder(None), lambda done, total: progress.update(task, completed=done, total=total)
        )
    typer.echo(f"{name}: {path}")


def _show(result: dict[str, Any], render: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    from rich.console import Console

    render(result, Console())


if __name__ == "__main__":
    main()
