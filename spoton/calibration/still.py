"""One picture of a camera to click on."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from spoton.errors import InputError
from spoton.site import CameraSite, Site
from spoton.vision.protocols import Picture
from spoton.vision.sources import open_source
from spoton.vision.sources.address import Kind, parse_address

_SETTLED_AFTER = 5
"""A live camera's first pictures may be grey until a whole one has come."""


def still(site: Site, camera: CameraSite, picture: Path | None) -> Picture:
    """The picture in a file, or a frame of the camera's source, as BGR rows.

    Raises InputError when neither is there, SourceError when the source cannot be read.
    """
    if picture is not None:
        try:
            data = np.frombuffer(picture.read_bytes(), dtype=np.uint8)
        except OSError as error:
            raise InputError(
                f"{picture} cannot be read: {error}", remedy="give a JPEG or PNG of this camera"
            ) from error
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if decoded is None:
            raise InputError(f"{picture} is no picture", remedy="give a JPEG or PNG of this camera")
        return np.asarray(decoded, dtype=np.uint8)
    if not camera.source:
        raise InputError(
            f"camera {camera.name!r} has no source to take a picture from", remedy="give one with --picture FILE"
        )
    written = site.resolve(camera.source)
    wanted = 1 if parse_address(written).kind in (Kind.FILE, Kind.FOLDER) else _SETTLED_AFTER
    with closing(open_source(written, fps=camera.fps)) as source:
        frames = list(islice(source.frames(), wanted))
    if not frames:
        raise InputError(f"the source of {camera.name!r} holds no picture", remedy="give one with --picture FILE")
    return frames[-1].picture
