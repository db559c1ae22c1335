"""``spoton models``: which networks there are, under which licence, where they lie, and whether they are whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from spoton.errors import ModelError
from spoton.vision import clip_embedder
from spoton.vision.weights import CATALOGUE, find, known, verify


def listed(folder: Path) -> dict[str, Any]:
    """Every network that has a name: what for, size in bytes, licence, origin, and its path where it is here."""
    models: list[dict[str, Any]] = []
    for one in CATALOGUE.values():
        path = find(one.name, folder)
        models.append(
            {
                "name": one.name, "task": one.task, "bytes": one.size, "licence": one.licence, "origin": one.origin,
                "sha256": one.sha256, "path": str(path) if path else None,
            }
        )  # fmt: skip
    clip = clip_embedder.find(folder)
    models.append(
        {
            "name": clip_embedder.NAME, "task": "embedder", "bytes": None, "licence": clip_embedder.LICENCE,
            "origin": clip_embedder.ORIGIN, "sha256": None, "path": str(clip) if clip else None,
        }
    )  # fmt: skip
    return {"folder": str(folder), "models": models}


def render_list(result: dict[str, Any], console: Console) -> None:
    """The networks as a table."""
    table = Table("name", "for", "size", "licence", "from", "here")
    for one in result["models"]:
        size = f"{one['bytes'] / 1e6:.1f} MB" if one["bytes"] else ""
        table.add_row(one["name"], one["task"], size, one["licence"], one["origin"], one["path"] or "no")
    console.print(table)
    console.print(f"Weights lie in {result['folder']}; get them with: spoton models pull NAME", soft_wrap=True)


def checked(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Compare networks with what is known of them; without names all that are here.

    Those of the project's release by SHA-256; of CLIP no checksum is known, it is loaded and has to answer a picture.
    ``problem`` is None for a network that is whole, else the error in one line.

    Raises ModelError for a name that is not known, and for a named network that is not here.
    """
    found: dict[str, Path] = {}
    for name in names or [*CATALOGUE, clip_embedder.NAME]:
        path = clip_embedder.find(folder) if name == clip_embedder.NAME else find(known(name).name, folder)
        if path is not None:
            found[name] = path
        elif names:
            remedy = clip_embedder.remedy(folder) if name == clip_embedder.NAME else f"run `spoton models pull {name}`"
            raise ModelError(f"{name}: not in {folder}", remedy=remedy)
    models = []
    for name, path in found.items():
        problem = None
        try:
            if name == clip_embedder.NAME:
                clip_embedder.ClipEmbedder(path)
            else:
                verify(name, path)
        except ModelError as error:
            problem = str(error)
        how = "answers a picture" if name == clip_embedder.NAME else "SHA-256"
        models.append({"name": name, "path": str(path), "by": how, "problem": problem})
    return {"folder": str(folder), "models": models}


def render_checked(result: dict[str, Any], console: Console) -> None:
    """A line for each network."""
    say = partial(console.print, soft_wrap=True, markup=False)
    for one in result["models"]:
        say(f"{one['name']}: {one['problem'] or 'whole, by ' + one['by']} ({one['path']})")
    if not result["models"]:
        say(f"no known weights in {result['folder']}; get them with: spoton models pull NAME")
