"""The site: cameras, calibration, floor, zones and thresholds, read once into frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

Point = tuple[float, float]
Matrix3 = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Pinhole:
    """A calibrated camera: OpenCV's K and distortion, and R, t from world (metres, floor at z = 0) to camera."""

    K: Matrix3
    R: Matrix3
    t: tuple[float, float, float]
    dist: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Homography:
    """Image pixels to floor metres: (x_m, y_m, 1) ~ H (u_px, v_px, 1)."""

    H: Matrix3


@dataclass(frozen=True, slots=True)
class PointPairs:
    """Image points and where they are on the floor; at least four where they are the calibration."""

    image_px: tuple[Point, ...]
    floor_m: tuple[Point, ...]


Calibration = Pinhole | Homography | PointPairs


@dataclass(frozen=True, slots=True)
class CameraSite:
    """One camera of the site.

    source: what frames are read from (file, folder, rtsp://, http://, /dev/video0, sim://). size_px: width, height
    that the calibration was made at. detector: overrides the site's. loop: start a file again at its end.
    check_points: known points that the calibration did not use; they tell how good it is.
    """

    name: str
    source: str = ""
    fps: float | None = None
    size_px: tuple[int, int] | None = None
    calibration: Calibration | None = None
    detector: str | None = None
    loop: bool = False
    check_points: PointPairs | None = None


@dataclass(frozen=True, slots=True)
class Zone:
    """A named polygon on the floor, metres."""

    name: str
    polygon_m: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Floor:
    """The floor plan: extent, and the picture of it where there is one.

    origin_m: floor coordinates of the plan's lower left corner. plan: path as written, relative to the site file.
    """

    size_m: tuple[float, float] | None = None
    origin_m: Point = (0.0, 0.0)
    plan: str | None = None
    metres_per_pixel: float | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What may be tuned per site; every default is meant to stay.

    high_score, low_score: two-stage association by detection confidence. confirm_s: a track must be seen this long
    to start, or twice with scores that leave little doubt. lost_after_s: a track unseen for this long ends. tick_hz:
    floor ticks per second, None: the fastest camera's rate, at most 10. late_s: how long a tick waits for a camera.
    gate_m: farthest two views of one person may fall apart on the floor. leave_after_s: a person unseen for this long
    has left. appearance_gate: cosine distance above which two looks are different people, None: what is usual of
    the embedder, and then what is learnt on site. recognise_p: how
    likely it must be by looks, 0.5 to 1, that somebody is another than they were taken for; 1: never.
    look_again_s: a track's look is taken again after this long.
    """

    high_score: float = 0.5
    low_score: float = 0.1
    confirm_s: float = 0.15
    lost_after_s: float = 1.5
    tick_hz: float | None = None
    late_s: float = 0.5
    gate_m: float = 1.0
    leave_after_s: float = 5.0
    appearance_gate: float | None = None
    recognise_p: float = 0.8
    look_again_s: float = 0.5
    max_reprojection_m: float = 2.0
    warn_reprojection_m: float = 0.5


@dataclass(frozen=True, slots=True)
class Site:
    """Everything known about a site before its first frame."""

    name: str
    cameras: tuple[CameraSite, ...]
    floor: Floor = Floor()
    zones: tuple[Zone, ...] = ()
    thresholds: Thresholds = Thresholds()
    detector: str = "auto"
    embedder: str = "histogram"
    file: str = field(default="", compare=False)

    def camera(self, name: str) -> CameraSite:
        """The camera of that name; KeyError when the site has none."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise KeyError(name)

    def resolve(self, written: str) -> str:
        """A path as the site file gives it, seen from where the program runs.

        Relative paths start at the folder of the site file; absolute ones, ``~`` and what has a scheme (``rtsp://``,
        ``usb:0``) stay as they are.
        """
        scheme, mark, _ = written.partition(":")
        if (mark and scheme.isalnum()) or written.startswith(("/", "~")):
            return written
        folder, slash, _ = self.file.rpartition("/")
        return f"{folder}{slash}{written}"
