"""``spoton find``: who, of all that a run of ``spoton track`` recorded, looks like the people in some pictures?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from spoton.errors import InputError
from spoton.events import decode
from spoton.gallery.following import FollowedGallery
from spoton.gallery.gallery import Gallery
from spoton.vision.choose import make_embedder
from spoton.vision.protocols import Picture
from spoton.vision.sharpness import LEAST_SHARPNESS, sharpness


def run(
    pictures: Sequence[Path],
    *,
    events_file: Path | None,
    gallery_file: Path | None,
    embedder: str | None,
    weights_dir: Path,
    k: int,
) -> dict[str, Any]:
    """The ``k`` most similar people for each picture of one person.

    events_file: ``events.jsonl`` of a run, from which a gallery is made; it is kept in gallery_file where one is given.
    Without events the gallery is read from there. embedder: as ``make_embedder`` takes it; None: the one by whose name
    the looks were recorded.

    The result has ``model``, how many ``people`` and ``views`` were searched, and per picture under ``found`` its
    ``path``, whether it is ``blurred``, and ``people``: name, ``score`` (cosine), when they were first and last looked
    at, in microseconds.

    Raises InputError for files that cannot be read or hold no looks, ModelError for an embedder that cannot be made.
    """
    gallery = _gallery(events_file, gallery_file)
    made = make_embedder(embedder or gallery.model, weights_dir=weights_dir)
    if (made.name, made.dim) != (gallery.model, gallery.dim):
        raise InputError(
            f"embedder {made.name!r} ({made.dim} numbers) cannot be compared with looks of {gallery.model!r} "
            f"({gallery.dim})",
            remedy="give the embedder that the looks were recorded with",
        )
    crops = [_picture(path) for path in pictures]
    matches = gallery.search(made.embed(crops), k)
    blurred = (sharpness(crops) < LEAST_SHARPNESS).tolist()
    found = []
    for query, path in enumerate(pictures):
        people = []
        for person, score in matches.of(query):
            times = gallery.views(person)[1]
            first, last = int(times.min()), int(times.max())
            people.append({"person": person, "score": round(score, 4), "first_at": first, "last_at": last})
        found.append({"path": str(path), "blurred": blurred[query], "people": people})
    return {"model": gallery.model, "people": gallery.people, "views": len(gallery), "found": found}


def render(result: dict[str, Any], console: Console) -> None:
    """A table for each picture."""
    searched = f"{result['people']} people, {result['views']} views, by {result['model']}"
    for one in result["found"]:
        table = Table("person", "alike", "first looked at", "last", title=f"{one['path']}: of {searched}")
        for person in one["people"]:
            table.add_row(
                person["person"], f"{person['score']:.3f}", f"{person['first_at'] / 1e6:.1f} s",
                f"{person['last_at'] / 1e6:.1f} s",
            )  # fmt: skip
        console.print(table)
        if one["blurred"]:
            console.print("the picture is blurred: what is found says little")


def _gallery(events_file: Path | None, gallery_file: Path | None) -> Gallery:
    if events_file is None and gallery_file is None:
        raise InputError("nothing to search in", remedy="give --events tracks/events.jsonl, or --gallery FILE")
    if events_file is None:
        return Gallery.load(gallery_file or Path())
    made = gallery_of(events_file)
    if gallery_file is not None:
        made.save(gallery_file)
    return made


def gallery_of(events_file: Path) -> Gallery:
    """Everyone whose looks the events tell of; InputError for a file that cannot be read or tells of none."""
    followed = FollowedGallery()
    try:
        with events_file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    followed.apply(decode(line))
                except msgspec.DecodeError as error:
                    raise InputError(
                        f"{events_file}:{number}: no event: {error}",
                        remedy="give the events.jsonl that `spoton track` wrote, whole",
                    ) from error
    except OSError as error:
        raise InputError(
            f"{events_file}: cannot be read: {error.strerror or error}",
            remedy="give the events.jsonl that `spoton track` wrote",
        ) from error
    if followed.gallery is None:
        raise InputError(
            f"{events_file}: tells of no looks", remedy="track pictures: recorded detections say nothing of looks"
        )
    return followed.gallery


def _picture(path: Path) -> Picture:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", remedy="check the path") from error
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise InputError(f"{path}: not a picture ({len(data)} bytes)", remedy="give a JPEG or PNG of one person")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
