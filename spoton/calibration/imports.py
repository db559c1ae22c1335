"""Calibrations as other programs write them: OpenCV, WILDTRACK, PETS (Tsai), SceneScape, and our own cameras.json."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.adjustment import matrix3
from spoton.calibration.fit import Intrinsics
from spoton.calibration.tsai import Tsai, to_pinhole
from spoton.errors import InputError
from spoton.offline.cameras_json import read_cameras
from spoton.site import Pinhole, PointPairs

Floats = NDArray[np.float64]

UNITS_M = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001}

_K_NAMES = ("camera_matrix", "cameraMatrix", "CameraMatrix", "K", "M", "intrinsic", "intrinsic_matrix")
_DIST_NAMES = ("distortion_coefficients", "dist_coeffs", "distCoeffs", "distortion", "dist", "D")
_TURN_NAMES = ("rvec", "R", "rotation_matrix", "rotation", "rotationMatrix")
_SHIFT_NAMES = ("tvec", "T", "t", "translation", "translation_vector")
_SIZES = (("image_width", "image_height"), ("width", "height"), ("imageWidth", "imageHeight"))


@dataclass(frozen=True, slots=True)
class Imported:
    """What files say of one camera; None where they do not.

    kind: what they were taken for. note: what was lost or assumed on the way.
    """

    kind: str
    size_px: tuple[int, int] | None = None
    intrinsics: Intrinsics | None = None
    pose: Pinhole | None = None
    points: PointPairs | None = None
    note: str = ""


def read(paths: Sequence[Path], camera: str, unit: str | None = None) -> Imported:
    """The calibration of ``camera`` in one or several files, intrinsics and pose in one or apart.

    unit: of the lengths in the files, from ``UNITS_M``; left out, metres, but centimetres where WILDTRACK's vectors
    stand as plain text, and millimetres for PETS. Raises InputError naming file, key and what is missing.
    """
    if unit is not None and unit not in UNITS_M:
        raise InputError(f"unit {unit!r} is not known", remedy=f"choose from: {', '.join(UNITS_M)}")
    found = [_read_one(path, camera, unit) for path in paths]
    if not found:
        raise InputError("no file to import", remedy="give the path of one")
    together = found[0]
    for other in found[1:]:
        together = _joined(together, other)
    if together.pose is None:
        return together
    lens = together.intrinsics
    if lens is None:
        raise InputError(
            f"{paths[0]}: R and t without a camera matrix",
            remedy="name the file with camera_matrix too: --import twice",
        )
    return replace(together, pose=replace(together.pose, K=lens.K, dist=lens.dist or (0.0,) * 5))


_NO_LENS = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def _joined(one: Imported, other: Imported) -> Imported:
    return Imported(
        one.kind if one.kind == other.kind else f"{one.kind} and {other.kind}",
        one.size_px or other.size_px,
        one.intrinsics or other.intrinsics,
        one.pose or other.pose,
        one.points or other.points,
        "; ".join(note for note in (one.note, other.note) if note),
    )


def _read_one(path: Path, camera: str, unit: str | None) -> Imported:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", remedy="give a calibration file") from error
    start = text.lstrip()
    if start.startswith("{"):
        return _json(path, text, camera, unit)
    if start.startswith("<"):
        return _xml(path, text, unit)
    if start.startswith("%YAML") or path.suffix.lower() in (".yml", ".yaml"):
        return _opencv(path, text, unit)
    raise InputError(
        f"{path} is no calibration that is known here",
        remedy="give OpenCV's YAML or XML, WILDTRACK's or PETS' XML, SceneScape's JSON, or a cameras.json",
    )


# --- JSON: SceneScape, cameras.json -----------------------------------------------------------------------------


def _json(path: Path, text: str, camera: str, unit: str | None) -> Imported:
    try:
        raw = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is no JSON: {error}", remedy="give a whole file") from error
    sensors = raw.get("sensors", raw)
    if isinstance(sensors, dict) and any(isinstance(one, dict) and "camera points" in one for one in sensors.values()):
        return _scenescape(path, _chosen(path, sensors, camera), camera, unit)
    if "camera points" in raw:
        return _scenescape(path, raw, camera, unit)
    cameras = {one.name: one for one in read_cameras(path)}
    one = _chosen(path, cameras, camera)
    pose = one.calibration
    assert isinstance(pose, Pinhole)
    return Imported("cameras.json", one.size_px, Intrinsics(pose.K, pose.dist), _in_metres(pose, unit or "m"))


def _chosen(path: Path, known: dict[str, Any], camera: str) -> Any:
    if camera in known:
        return known[camera]
    if len(known) == 1:
        return next(iter(known.values()))
    raise InputError(
        f"{path} has no camera {camera!r}", remedy=f"it has: {', '.join(known)}; name one of them with --as"
    )


def _scenescape(path: Path, sensor: Any, camera: str, unit: str | None) -> Imported:
    """Intel SceneScape's sensor: ``camera points`` px beside ``map points`` m, and perhaps the lens."""
    image, floor = (_rows(path, sensor, key) for key in ("camera points", "map points"))
    if len(image) != len(floor):
        raise InputError(
            f"{path}: {camera}: {len(image)} camera points beside {len(floor)} map points", remedy="give as many"
        )
    for number, row in enumerate(floor, start=1):
        if len(row) > 2 and abs(row[2]) > 1e-9:
            raise InputError(
                f"{path}: {camera}: map points[{number}] = {row} lies off the floor", remedy="give points with z = 0"
            )
    scale = UNITS_M[unit or "m"]
    pairs = PointPairs(
        tuple((row[0], row[1]) for row in image), tuple((row[0] * scale, row[1] * scale) for row in floor)
    )
    size = (sensor.get("width"), sensor.get("height"))
    size_px = (int(size[0]), int(size[1])) if all(isinstance(side, int | float) and side > 0 for side in size) else None
    return Imported("SceneScape", size_px, _scenescape_lens(path, sensor), None, pairs)


def _rows(path: Path, sensor: Any, key: str) -> list[list[float]]:
    try:
        return [row for row in msgspec.convert(sensor[key], list[list[float]]) if _complete(row)]
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise InputError(f"{path}: {key} cannot be used: {error}", remedy="give a list of [x, y]") from error


def _complete(row: list[float]) -> bool:
    if len(row) < 2 or not all(map(math.isfinite, row)):
        raise ValueError(f"{row} is no point")
    return True


def _scenescape_lens(path: Path, sensor: Any) -> Intrinsics | None:
    given = sensor.get("intrinsics")
    if given is None:
        return None
    dist = sensor.get("distortion", ())
    if isinstance(given, dict):
        given = [given.get(key) for key in ("fx", "fy", "cx", "cy")]
    if isinstance(dist, dict):
        dist = [dist.get(key, 0.0) for key in ("k1", "k2", "p1", "p2", "k3")]
    try:
        fx, fy, cx, cy = msgspec.convert(given, tuple[float, float, float, float])
        return Intrinsics(((fx, 0.0, cx), (0.0, fy, cy), (0.0, 0.0, 1.0)), tuple(map(float, dist)))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise InputError(f"{path}: intrinsics = {given!r} cannot be used", remedy="give fx, fy, cx, cy") from error


# --- XML and YAML -----------------------------------------------------------------------------------------------


def _xml(path: Path, text: str, unit: str | None) -> Imported:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} defines entities", remedy="give plain XML")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is no XML: {error}", remedy="give a whole file") from error
    if root.tag == "Camera" or root.find(".//Geometry") is not None:
        return _pets(path, root, unit)
    plain = {name: root.find(name) for name in ("rvec", "tvec")}
    if all(one is not None and not len(one) for one in plain.values()):
        turn, shift = (
            _numbers(path, name, (one.text or "").split(), 3) for name, one in plain.items() if one is not None
        )
        given = unit or "cm"
        return Imported(
            "WILDTRACK", pose=_posed(path, turn, shift, given), note="" if unit else f"lengths taken for {given}"
        )
    return _opencv(path, text, unit)


def _pets(path: Path, root: ElementTree.Element, unit: str | None) -> Imported:
    camera = root if root.tag == "Camera" else root.find(".//Camera") or root
    parts = {name: camera.find(f".//{name}") for name in ("Geometry", "Intrinsic", "Extrinsic")}

    def number(part: str, key: str) -> float:
        given = parts[part]
        value = None if given is None else given.get(key)
        return float(_numbers(path, f"{part}.{key}", [] if value is None else [value], 1)[0])

    width, height = int(number("Geometry", "width")), int(number("Geometry", "height"))
    tsai = Tsai(
        (width, height), number("Geometry", "dpx"), number("Geometry", "dpy"), number("Intrinsic", "focal"),
        number("Intrinsic", "kappa1"), number("Intrinsic", "cx"), number("Intrinsic", "cy"), number("Intrinsic", "sx"),
        (number("Extrinsic", "tx"), number("Extrinsic", "ty"), number("Extrinsic", "tz")),
        (number("Extrinsic", "rx"), number("Extrinsic", "ry"), number("Extrinsic", "rz")),
    )  # fmt: skip
    if min(tsai.dpx, tsai.dpy, tsai.focal, tsai.sx, width, height) <= 0:
        raise InputError(f"{path}: dpx, dpy, focal, sx, width and height must be above zero", remedy="check the file")
    pose, lost = to_pinhole(tsai, UNITS_M[unit or "mm"])
    said = f"Tsai's distortion in OpenCV's model, at most {lost:.2g} px off"
    note = said if unit else f"{said}; lengths taken for mm"
    return Imported("PETS (Tsai)", (width, height), Intrinsics(pose.K, pose.dist), pose, note=note)


def _opencv(path: Path, text: str, unit: str | None) -> Imported:
    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    except cv2.error as error:
        said = str(error.err or error).strip().splitlines()[0]
        raise InputError(f"{path} cannot be read by OpenCV: {said}", remedy="give a whole file") from error
    K = _array(path, storage, _K_NAMES)
    turn, shift = _array(path, storage, _TURN_NAMES), _array(path, storage, _SHIFT_NAMES)
    dist = _array(path, storage, _DIST_NAMES)
    size_px = _size(storage)
    intrinsics = None
    if K is not None:
        if K.shape != (3, 3) or K[0, 0] <= 0 or K[1, 1] <= 0 or abs(K[2, 2] - 1.0) > 1e-6:
            raise InputError(
                f"{path}: camera_matrix is {K.tolist()}", remedy="give [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"
            )
        coefficients = () if dist is None else tuple(map(float, dist.ravel()))
        while len(coefficients) > 8 and coefficients[-1] == 0.0:
            coefficients = coefficients[:-1]
        if len(coefficients) not in (0, 4, 5, 8):
            raise InputError(
                f"{path}: {len(coefficients)} distortion coefficients",
                remedy="give OpenCV's 4, 5 or 8 (k1 k2 p1 p2 ...)",
            )
        intrinsics = Intrinsics(matrix3(K), coefficients)
    pose = None
    if turn is not None and shift is not None:
        pose = _posed(path, turn.ravel(), shift.ravel(), unit or "m")
    elif (turn is None) != (shift is None):
        raise InputError(f"{path}: only one of rotation and translation", remedy="give both, or neither")
    if intrinsics is None and pose is None:
        raise InputError(
            f"{path} holds neither a camera matrix nor a pose",
            remedy="name them as OpenCV does: camera_matrix, distortion_coefficients, rvec, tvec",
        )
    return Imported("OpenCV", size_px, intrinsics, pose)


def _array(path: Path, storage: cv2.FileStorage, names: Iterable[str]) -> Floats | None:
    for name in names:
        node = storage.getNode(name)
        if node.empty():
            continue
        if node.isSeq():
            values = [node.at(index) for index in range(node.size())]
            if all(value.isReal() or value.isInt() for value in values):
                return np.array([value.real() for value in values])
            rows = [[row.at(k).real() for k in range(row.size())] for row in values]
            return np.array(rows, dtype=np.float64)
        if node.isMap() and (matrix := node.mat()) is not None:
            array = np.asarray(matrix, dtype=np.float64)
            if np.isfinite(array).all():
                return array
        raise InputError(
            f"{path}: {name} is no matrix of finite numbers", remedy="write it as OpenCV's FileStorage does"
        )
    return None


def _size(storage: cv2.FileStorage) -> tuple[int, int] | None:
    for names in _SIZES:
        nodes = [storage.getNode(name) for name in names]
        if all(not node.empty() and (node.isInt() or node.isReal()) for node in nodes):
            return int(nodes[0].real()), int(nodes[1].real())
    return None


def _numbers(path: Path, key: str, given: Sequence[str], count: int) -> Floats:
    try:
        values = np.array([float(value) for value in given])
    except ValueError:
        values = np.array([np.nan])
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{path}: {key} = {' '.join(given)!r} is not {count} finite number(s)", remedy="correct it")
    return values


def _posed(path: Path, turn: Floats, shift: Floats, unit: str) -> Pinhole:
    """A pose without a lens yet, from a rotation vector or matrix and a translation."""
    if shift.size != 3 or turn.size not in (3, 9):
        raise InputError(
            f"{path}: rotation of {turn.size} and translation of {shift.size} numbers",
            remedy="give a rotation vector (3) or matrix (3 x 3), and a translation (3)",
        )
    R = cv2.Rodrigues(turn)[0] if turn.size == 3 else turn.reshape(3, 3)
    if np.abs(R @ R.T - np.eye(3)).max() > 1e-3 or np.linalg.det(R) < 0:
        raise InputError(f"{path}: the rotation matrix is none", remedy="give R from world to camera, orthonormal")
    x, y, z = (shift * UNITS_M[unit]).tolist()
    return Pinhole(_NO_LENS, matrix3(R), (x, y, z))


def _in_metres(pose: Pinhole, unit: str) -> Pinhole:
    x, y, z = (value * UNITS_M[unit] for value in pose.t)
    return replace(pose, t=(x, y, z))
