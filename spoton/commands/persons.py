"""``spoton persons``: who is there, and operators' corrections of who is who, through the API of a running site."""

from __future__ import annotations

import getpass
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Annotated, Any

import typer

from spoton.commands.options import Json, show
from spoton.errors import InputError

persons_app = typer.Typer(help="The people of a running site, and corrections of who is who.", no_args_is_help=True)

Api = Annotated[str, typer.Option("--api", envvar="SPOTON_API", help="Where the site's page is.")]
Why = Annotated[str, typer.Option(help="The reason, kept with the correction.")]
HERE = "http://127.0.0.1:8321"
_PATIENCE_S = 15.0


@persons_app.command("list", epilog="Example: spoton persons list")
def listed(api: Api = HERE, as_json: Json = False) -> None:
    """Who is on the floor now, and which tracks show them."""
    show(_asked(api, "persons"), _render, as_json)


@persons_app.command(epilog="Example: spoton persons merge 68f1c2a0-3 68f1c2a0-7 --why 'same red jacket'")
def merge(
    person: Annotated[str, typer.Argument(help="Who it is.")],
    merged: Annotated[str, typer.Argument(help="Who turned out to be the same person.")],
    why: Why = "",
    api: Api = HERE,
    as_json: Json = False,
) -> None:
    """Make two identities one."""
    _told(_asked(api, f"persons/{_quoted(person)}/merge", {"merged": merged}, why), as_json)


@persons_app.command(epilog="Example: spoton persons split 68f1c2a0-3 north/12 east/5")
def split(
    person: Annotated[str, typer.Argument(help="Who was two people.")],
    tracks: Annotated[list[str], typer.Argument(metavar="CAMERA/TRACK...", help="What shows the other one.")],
    why: Why = "",
    api: Api = HERE,
    as_json: Json = False,
) -> None:
    """Make one identity two: these tracks show somebody else, who gets a new number."""
    _told(_asked(api, f"persons/{_quoted(person)}/split", {"tracks": [_track(one) for one in tracks]}, why), as_json)


@persons_app.command(epilog="Example: spoton persons reassign north/12 68f1c2a0-3")
def reassign(
    track: Annotated[str, typer.Argument(metavar="CAMERA/TRACK", help="What shows the person.")],
    person: Annotated[str, typer.Argument(help="Who it is.")],
    why: Why = "",
    api: Api = HERE,
    as_json: Json = False,
) -> None:
    """Make a track another person's."""
    camera, number = _track(track)
    _told(_asked(api, f"persons/{_quoted(person)}/tracks", {"camera": camera, "track": number}, why), as_json)


@persons_app.command(epilog="Example: spoton persons undo 0b6f4c5e-0d8c-6a55-4c0f-1f0c8f3c2b1a")
def undo(
    event: Annotated[str, typer.Argument(help="Id of a PersonsMerged, PersonSplit or TrackReassigned.")],
    why: Why = "",
    api: Api = HERE,
    as_json: Json = False,
) -> None:
    """Take back a merge, split or reassignment, whoever decided it."""
    _told(_asked(api, f"events/{_quoted(event)}/undo", {}, why), as_json)


def _quoted(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def _track(text: str) -> tuple[str, int]:
    camera, _, number = text.rpartition("/")
    if not camera or not (number.isascii() and number.isdecimal()):
        raise InputError(f"{text!r} is no track", remedy="write CAMERA/TRACK, as in north/12")
    return camera, int(number)


def _asked(api: str, path: str, body: dict[str, Any] | None = None, why: str = "") -> dict[str, Any]:
    if not api.startswith(("http://", "https://")):
        raise InputError(f"--api {api} is no address", remedy=f"as in {HERE}")
    sent = None if body is None else json.dumps({**body, "by": getpass.getuser(), "why": why}).encode()
    request = urllib.request.Request(
        f"{api.rstrip('/')}/api/v1/{path}", data=sent, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
            told: dict[str, Any] = json.load(answer)
            return told
    except urllib.error.HTTPError as error:
        said = _error(error.read())
        raise InputError(said.get("what", f"{api} answers {error.code}"), remedy=said.get("remedy", "")) from error
    except (OSError, ValueError) as error:
        raise InputError(f"no API answers at {api}: {error}", remedy="start spoton up, or correct --api") from error


def _error(text: bytes) -> dict[str, str]:
    try:
        return dict(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return {}


def _told(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer))
        return
    event = answer["event"]
    if event is None:
        typer.echo(f"recorded as {answer['command']['id']}; it holds as soon as the site has come so far")
        return
    match event["type"]:
        case "PersonsMerged":
            said = f"{event['merged']} is {event['person']} from now on"
        case "PersonSplit":
            said = f"{event['new_person']} was taken for {event['person']}"
        case _:
            said = f"track {event['camera']}/{event['track']} is {event['person']} from now on"
    typer.echo(f"{said} (to take it back: spoton persons undo {event['id']})")


def _render(result: dict[str, Any], console: Any) -> None:
    for one in result["persons"]:
        tracks = " ".join(f"{camera}/{track}" for camera, track in one["seen"])
        before = f"  before: {', '.join(one['previous_ids'])}" if one.get("previous_ids") else ""
        console.print(f"{one['person']}  {one['x_m']:.1f} {one['y_m']:.1f} m  {tracks}{before}", soft_wrap=True)
    console.print(f"{len(result['persons'])} people", soft_wrap=True)
