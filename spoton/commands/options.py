"""Options that several commands have, and how a result is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Weights = Annotated[
    Path | None, typer.Option(help="Folder of model weights [default: $SPOTON_WEIGHTS or ~/.cache/spoton/weights].")
]


def weights_folder(given: Path | None) -> Path:
    """The folder given, else the usual one."""
    from spoton.vision.weights import default_folder

    return given or default_folder(os.environ)


def show(result: dict[str, Any], render: Any, as_json: bool) -> None:
    """Print a result: one JSON object, or what ``render(result, console)`` makes of it."""
    if as_json:
        typer.echo(json.dumps(result))
        return
    from rich.console import Console

    render(result, Console())
