"""A ``Site`` as the TOML text of a site file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields

from spoton.site import CameraSite, Floor, Homography, Pinhole, PointPairs, Site, Thresholds


def dump(site: Site) -> str:
    """TOML that ``site_file.parse`` reads back as an equal site; what has its default value is left out."""
    return "\n".join(_lines(site)) + "\n"


def _lines(site: Site) -> Iterator[str]:
    yield from ("[site]", f"name = {_text(site.name)}")
    yield from _differing(site, Site("", ()), ("detector", "embedder"))
    if site.floor != Floor():
        yield from ("", "[floor]")
        yield from _differing(site.floor, Floor(), [field.name for field in fields(Floor)])
    for camera in site.cameras:
        yield from ("", "[[camera]]", f"name = {_text(camera.name)}")
        yield from _differing(camera, CameraSite(""), ("source", "fps", "size_px", "detector", "loop"))
        yield from _calibration(camera)
        if camera.check_points is not None:
            yield from _points("check_points", camera.check_points)
    for zone in site.zones:
        yield from ("", "[[zone]]", f"name = {_text(zone.name)}", f"polygon_m = {_value(zone.polygon_m)}")
    if site.thresholds != Thresholds():
        yield from ("", "[thresholds]")
        yield from _differing(site.thresholds, Thresholds(), [field.name for field in fields(Thresholds)])


def _calibration(camera: CameraSite) -> Iterator[str]:
    match camera.calibration:
        case Pinhole(K=K, R=R, t=t, dist=dist):
            yield from (f"K = {_value(K)}", f"R = {_value(R)}", f"t = {_value(t)}", f"dist = {_value(dist)}")
        case Homography(H=H):
            yield f"homography = {_value(H)}"
        case PointPairs() as pairs:
            yield from _points("points", pairs)


def calibration_lines(camera: CameraSite) -> list[str]:
    """A camera's picture size and calibration as lines of its table."""
    return [*_differing(camera, CameraSite(""), ("size_px",)), *_calibration(camera)]


def _points(key: str, pairs: PointPairs) -> Iterator[str]:
    yield f"{key} = ["
    for image_px, floor_m in zip(pairs.image_px, pairs.floor_m, strict=True):
        yield f"  {{ image_px = {_value(image_px)}, floor_m = {_value(floor_m)} }},"
    yield "]"


def _differing(thing: object, default: object, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        value = getattr(thing, key)
        if value != getattr(default, key):
            yield f"{key} = {_value(value)}"


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int():
            return str(int(value))
        case float():
            return repr(float(value))  # also of NumPy's, whose own repr is no TOML
        case tuple():
            return f"[{', '.join(_value(each) for each in value)}]"
    raise TypeError(f"a site file holds no {type(value).__name__}")


def _text(text: str) -> str:
    # a JSON string is a TOML basic string, but for DEL, which TOML wants escaped
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
