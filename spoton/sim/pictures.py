"""Pictures of a simulated floor, as folders of JPEG files or as videos, camera by camera."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.sim.floor import SimulatedFloor

Picture = NDArray[np.uint8]

KINDS = ("none", "jpeg", "video")
JPEG_QUALITY = 90


def write_pictures(
    floor: SimulatedFloor,
    out: Path,
    frames: int,
    kind: str,
    lost: NDArray[np.bool_],
    progress: Callable[[str, int, int], None],
) -> None:
    """Write ``pictures/CAM/NNNNNN.jpg`` (frame from 1) or ``video/CAM.mp4``.

    lost: (cameras, frames). In a folder a frame that never came is an empty file, which our reader leaves out and
    counts; a video has no such thing, and shows the picture before once more.
    """
    total = frames * len(floor.views)

    def painted(camera: int) -> Iterator[Picture | None]:
        for n in range(frames):
            yield None if lost[camera, n] else floor.picture(n, camera)
            progress("pictures", camera * frames + n + 1, total)

    for camera, view in enumerate(floor.views):
        if kind == "jpeg":
            _jpegs(painted(camera), out / "pictures" / view.name)
        else:
            _video(painted(camera), out / "video" / f"{view.name}.mp4", floor.fps, floor.size_px)
        floor.forget(camera)


def _jpegs(pictures: Iterable[Picture | None], folder: Path) -> None:
    folder.mkdir(parents=True)
    for n, picture in enumerate(pictures):
        path = folder / f"{n + 1:06d}.jpg"
        if picture is None:
            path.touch()
        else:
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(path), bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))


def _video(pictures: Iterable[Picture | None], path: Path, fps: float, size_px: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    last: Picture = np.zeros((size_px[1], size_px[0], 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "20"})
        # This format of pixels needs even sides; an odd one loses its last line.
        stream.width, stream.height, stream.pix_fmt = size_px[0] // 2 * 2, size_px[1] // 2 * 2, "yuv420p"
        for picture in pictures:
            last = last if picture is None else picture
            shown = np.ascontiguousarray(last[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode(None))
