"""The ``spoton`` command. Every command's work lies elsewhere and is imported when it is called for."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from spoton import __version__, diagnostics
from spoton.commands.bench import bench
from spoton.commands.explain import explain
from spoton.commands.models import models_app
from spoton.commands.options import Json, Weights, show, weights_folder
from spoton.commands.persons import persons_app
from spoton.errors import InputError, SpotOnError
from spoton.sim.command import sim_app

app = typer.Typer(
    name="spoton",
    help="Tells who was where, from many cameras, live and afterwards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(models_app, name="models")
site_app = typer.Typer(help="Site files: make one from what is there.", no_args_is_help=True)
app.add_typer(site_app, name="site")

app.add_typer(sim_app, name="sim")
app.add_typer(persons_app, name="persons")
app.command(epilog="Example: spoton explain 68f1c2a0-3 --events tracks/events.jsonl")(explain)
app.command(epilog="Example: spoton bench tracking --json")(bench)
cameras_app = typer.Typer(help="The cameras of a running site.", no_args_is_help=True)
app.add_typer(cameras_app, name="cameras")

Data = Annotated[Path, typer.Option(help="Folder for the log, the tables and the embedded database.")]
Database = Annotated[
    str | None, typer.Option(help="postgresql://user:password@host/name [default: the embedded one in --data].")
]
Kafka = Annotated[str, typer.Option(envvar="SPOTON_BROKER", help="kafka://host:port")]
Host = Annotated[str, typer.Option(help="Address to listen on. There is no sign-in yet.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the page and the API; 0 takes a free one.")]
AcceptBad = Annotated[
    bool, typer.Option(help="Start although a camera's reprojection error is above the site's bound.")
]


def main() -> None:
    """Run the command line; a mistake of the user is one line and a non-zero exit."""
    diagnostics.configure(for_people=True)
    # Many small matrices, never a large one: threads for them only wake each other, here and in all that is started.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app(standalone_mode=True)
    except SpotOnError as error:
        print(f"spoton: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


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
    people: Annotated[
        int | None, typer.Option(min=1, max=40, help="How many walk about [default: 12; with 8 cameras 30].")
    ] = None,
    cameras: Annotated[
        int, typer.Option(help="4: a plaza that all of them see; 8: a wide hall with places that none sees.")
    ] = 4,
    mode: Annotated[
        str,
        typer.Option(
            help="live: in real time; every-frame: nothing skipped, as slow as that takes; detections: no pictures, "
            "a simulated detector. The last two need --headless."
        ),
    ] = "live",
    seed: Annotated[int, typer.Option(help="Another seed, other walkers.")] = 7,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the page [default: 8321].")] = None,
    data: Annotated[Path | None, typer.Option(help="Keep log and database here [default: a temporary folder].")] = None,
    detector: Annotated[
        str, typer.Option(help="built-in, a known model's name, or a path to .onnx weights.")
    ] = "built-in",
) -> None:
    """Watch a simulated site: 4 cameras, 12 walking people, the whole way from pixels to the page."""
    from spoton.sim import demo as plaza_demo

    if headless and seconds is None:
        raise InputError("--headless without --seconds would never end", remedy="add --seconds 30")
    plaza_demo.run(
        plaza_demo.Wishes(
            seconds=seconds, headless=headless, as_json=as_json, people=people, seed=seed, port=port, data=data,
            detector=detector, cameras=cameras, mode=mode,
        )
    )  # fmt: skip


@app.command(epilog="Example: spoton up --site site.toml")
def up(
    site: Annotated[Path, typer.Option(help="The site file.")],
    data: Data = Path(".spoton"),
    broker: Annotated[
        str | None, typer.Option(help="log:///path or kafka://host:port [default: a log in --data].")
    ] = None,
    database: Database = None,
    host: Host = "127.0.0.1",
    port: Port = 8321,
    weights: Weights = None,
    accept_bad_calibration: AcceptBad = False,
) -> None:
    """Watch a site's real cameras on this machine: detection, tracking, history, API and page in one process."""
    from spoton.running import launch

    settings = launch.environment(
        [site], data=data, broker=broker, database=database, host=host, port=port, weights=weights_folder(weights),
        accept_bad_calibration=accept_bad_calibration,
    )  # fmt: skip
    raise typer.Exit(launch.watch_site(settings))


@app.command(epilog="Example: spoton worker --site site.toml --broker kafka://127.0.0.1:9092 --roles detection")
def worker(
    site: Annotated[list[Path], typer.Option(help="A site file; may be given several times.")],
    broker: Kafka,
    roles: Annotated[
        str, typer.Option(help="capture, detection, identity, archive, projection, behaviour [default: all].")
    ] = "",
    database: Database = None,
    data: Data = Path(".spoton"),
    weights: Weights = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="Of topics that do not exist yet: the most workers a role can have.")
    ] = None,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each topic that does not exist yet.")] = 1,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="/metrics and /health; each further role one port higher.")
    ] = None,
    host: Host = "127.0.0.1",
    accept_bad_calibration: AcceptBad = False,
) -> None:
    """Do some or all of the work of sites on Kafka, one process a role; start as many as there is work for."""
    from spoton.running import launch

    settings = launch.environment(
        site, data=data, broker=broker, database=database, host=host, weights=weights_folder(weights),
        partitions=partitions, replication=replication, accept_bad_calibration=accept_bad_calibration,
    )  # fmt: skip
    raise typer.Exit(launch.work(settings, roles, metrics_port))


@app.command(epilog="Example: spoton api --site site.toml --broker kafka://127.0.0.1:9092 --database postgresql://...")
def api(
    site: Annotated[Path, typer.Option(help="The site file.")],
    broker: Kafka,
    database: Database = None,
    data: Data = Path(".spoton"),
    host: Host = "127.0.0.1",
    port: Port = 8321,
    accept_bad_calibration: AcceptBad = False,
) -> None:
    """Serve a site's page, API and live streams beside workers on Kafka; start as many as there are clients for."""
    from spoton.running import launch

    settings = launch.environment(
        [site], data=data, broker=broker, database=database, host=host, port=port,
        accept_bad_calibration=accept_bad_calibration,
    )  # fmt: skip
    launch.become(settings, "api.standalone")


@cameras_app.command("apply", epilog="Example: spoton cameras apply --site site.toml --broker kafka://127.0.0.1:9092")
def cameras_apply(
    site: Annotated[Path, typer.Option(help="The site file with the cameras as they shall be.")],
    broker: Kafka,
    why: Annotated[str, typer.Option(help="The reason, kept with the change.")] = "",
    accept_bad_calibration: AcceptBad = False,
) -> None:
    """Make running workers watch the cameras of a site file: what is new is added, what is gone removed."""
    import asyncio
    import getpass
    import time

    from spoton.kafka.commands import apply_cameras
    from spoton.kafka.settings import KafkaSettings, servers
    from spoton.offline import check as offline_check

    report = offline_check.check(site, accept_bad=accept_bad_calibration)
    if not report.accepted:
        raise InputError("; ".join(report.refusals))
    client = {"bootstrap_servers": servers(broker), **KafkaSettings.from_env(os.environ).client_options()}
    facts = asyncio.run(
        apply_cameras(report.site, client, at=time.time_ns() // 1000, by=getpass.getuser(), why=why)
    )
    for fact in facts:
        typer.echo(f"{type(fact).__name__}: {fact.camera}")
    if not facts:
        typer.echo("nothing to change: the workers watch these cameras already")


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
    as_json: Json = False,
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
        weights_dir=weights_folder(None),
        fps=fps,
        as_json=as_json,
    )


@app.command(epilog="Example: spoton find person.jpg --events tracks/events.jsonl")
def find(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures of one person each, cut out.")],
    events: Annotated[Path | None, typer.Option(help="events.jsonl of `spoton track`, to search in.")] = None,
    gallery: Annotated[
        Path | None, typer.Option(help="Keep the gallery in this file; without --events search in it.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="Name or path [default: the one that the looks were recorded with].")
    ] = None,
    weights: Weights = None,
    k: Annotated[int, typer.Option(min=1, help="How many people to name.")] = 5,
    as_json: Json = False,
) -> None:
    """Find people by what they look like among everyone that was tracked. Needs the extra `gallery`."""
    from spoton.offline import find as offline_find

    result = offline_find.run(
        pictures, events_file=events, gallery_file=gallery, embedder=embedder, weights_dir=weights_folder(weights), k=k
    )
    show(result, offline_find.render, as_json)


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

    show(offline_evaluate.evaluate(gt_dir, tracks_dir, area), offline_evaluate.render, as_json)


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


@app.command(epilog="Example: spoton calibrate north --site site.toml --points north.csv --write")
def calibrate(
    site: Annotated[Path, typer.Option(help="The site file.")],
    camera: Annotated[str | None, typer.Argument(help="The camera's name; with --refine left out: all.")] = None,
    points: Annotated[
        Path | None, typer.Option(help="CSV px_x,px_y,x_m,y_m or TOML points instead of clicks on the page.")
    ] = None,
    imported: Annotated[
        list[Path] | None,
        typer.Option("--import", help="OpenCV, WILDTRACK, PETS or SceneScape file; intrinsics and pose may be two."),
    ] = None,
    called: Annotated[str | None, typer.Option("--as", help="The camera's name in the imported file.")] = None,
    unit: Annotated[str | None, typer.Option(help="Of lengths in the imported file: m, dm, cm, mm.")] = None,
    method: Annotated[str, typer.Option(help="homography, pose (needs the lens), or auto.")] = "auto",
    tolerance_px: Annotated[
        float | None, typer.Option(help="How far a point may miss [default: 3, or 1/250 of the width].")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="A picture of the camera [default: from its source].")] = None,
    write: Annotated[bool, typer.Option("--write", help="Change the site file, not only show how.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the changed site file here instead.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 8322,
    refine: Annotated[
        bool, typer.Option("--refine", help="From people: pull cameras together by who several of them see.")
    ] = False,
    detections: Annotated[Path | None, typer.Option(help="--refine: folder of <camera>.txt with detections.")] = None,
    events: Annotated[Path | None, typer.Option(help="--refine: events.jsonl of spoton track instead.")] = None,
    fps: Annotated[float | None, typer.Option(help="--refine: frames per second of the detections.")] = None,
    as_json: Json = False,
) -> None:
    """Calibrate a camera: on a page in the browser, from points, from other programs' files, or from people."""
    from rich.console import Console

    from spoton.calibration import command

    wishes = command.Wishes(
        site=site, camera=camera, points=points, imported=imported or (), called=called, unit=unit, method=method,
        tolerance_px=tolerance_px, picture=picture, write=write, out=out, port=port, refine=refine,
        detections=detections, events=events, fps=fps, as_json=as_json,
    )  # fmt: skip
    command.run(wishes, Console())


@app.command(epilog="Example: spoton doctor --site site.toml --broker kafka://kafka:9092")
def doctor(
    site: Annotated[Path | None, typer.Option(help="The site file [default: $SPOTON_SITE, or none].")] = None,
    broker: Annotated[
        str | None, typer.Option(help="log:///path or kafka://host:port [default: $SPOTON_BROKER, or a log in --data].")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="postgresql://... [default: $SPOTON_DATABASE, or the embedded one in --data].")
    ] = None,
    redis: Annotated[str | None, typer.Option(help="redis://:password@host:6379/0 [default: none].")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for log and database [default: $SPOTON_DATA or .spoton].")
    ] = None,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Look at what SpotOn needs around it: one line each, with a remedy; exit code 1 when there is a fault."""
    from rich.console import Console

    from spoton.doctor import report

    # What the client has to say about a broker that is away stands in the finding.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    findings = report.examine(
        report.Wishes.chosen(
            os.environ, site=site, broker=broker, database=database, redis=redis, data=data,
            weights=weights_folder(weights),
        )
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(report.as_json(findings)))
    else:
        report.render(findings, Console())
    if report.faulty(findings):
        raise typer.Exit(1)


@site_app.command("import", epilog="Example: spoton site import recordings/plaza --fps 10 --out plaza.toml")
def site_import(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds cameras.json.")],
    fps: Annotated[float, typer.Option(help="Frames per second of its recordings.")],
    out: Annotated[Path, typer.Option(help="The site file to write.")],
) -> None:
    """Write a site file from the cameras.json of a data set: cameras and frame rate, all else as it is by default."""
    from spoton.offline import site_import as offline_import

    site = offline_import.write(folder, fps, out)
    typer.echo(f"{out}: {len(site.cameras)} cameras")


if __name__ == "__main__":
    main()
