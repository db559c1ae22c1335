"""Puts a calibration into a site file's text: that camera's keys change, every other character stays."""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from spoton import site_file
from spoton.errors import InputError, SpotOnError
from spoton.site import CameraSite, Site
from spoton.site_text import calibration_lines

_KEYS = frozenset(("K", "R", "t", "dist", "homography", "points", "size_px"))
_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*(\"[^\"]*\"|'[^']*'|[A-Za-z0-9_-]+)\s*=")

Lines = list[str]


def with_calibrations(text: str, file: str, changed: Mapping[str, CameraSite]) -> str:
    """The text of a site file with the calibrations (and ``size_px``) of ``changed`` cameras, by name.

    Comments, order and all other keys stay as they are. The result is read back: InputError when it would say anything
    else than was asked for, as with cameras that are written as inline tables; SiteError for a mistake in ``text``.
    """
    before = site_file.parse(text, file)
    wanted = replace(before, cameras=tuple(_recalibrated(camera, changed) for camera in before.cameras))
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if lines and not lines[-1].endswith(newline):
        lines[-1] += newline
    for name, camera in changed.items():
        number = [one.name for one in before.cameras].index(name)
        lines = _replaced(lines, number, camera, newline)
    after = "".join(lines)
    if not _says(after, file, wanted):
        raise InputError(
            f"{file} is written in a way that cannot be changed in place",
            remedy="write each camera as a table of its own below [[camera]], or put these lines there yourself: "
            + "; ".join(line for camera in changed.values() for line in calibration_lines(camera)),
        )
    return after


def _recalibrated(camera: CameraSite, changed: Mapping[str, CameraSite]) -> CameraSite:
    new = changed.get(camera.name)
    return camera if new is None else replace(camera, calibration=new.calibration, size_px=new.size_px)


def _says(text: str, file: str, wanted: Site) -> bool:
    try:
        return site_file.parse(text, file) == wanted
    except SpotOnError:
        return False


def _replaced(lines: Lines, number: int, camera: CameraSite, newline: str) -> Lines:
    """The lines with one camera's calibration in place of the one it had."""
    begin, end = _table(lines, number)
    kept: Lines = []
    place = None
    last_key = 0
    for key, rows in _statements(lines[begin:end]):
        if key in _KEYS:
            place = len(kept) if place is None else place
            continue
        kept += rows
        if key is not None:
            last_key = len(kept)
    at = last_key if place is None else place
    fresh = [line + newline for line in calibration_lines(camera)]
    return lines[:begin] + kept[:at] + fresh + kept[at:] + lines[end:]


def _table(lines: Lines, number: int) -> tuple[int, int]:
    """Where the ``number``-th [[camera]] begins, after its header, and ends."""
    headers = []
    row = 0
    for _, rows in _statements(lines):
        found = _HEADER.match(rows[0].rstrip("\r\n")) if len(rows) == 1 else None
        if found:
            headers.append((row, re.sub(r"[\s\"']", "", found[1]), rows[0].lstrip().startswith("[[")))
        row += len(rows)
    cameras = [index for index, (_, name, listed) in enumerate(headers) if listed and name == "camera"]
    if number >= len(cameras):
        return len(lines), len(lines)
    index = cameras[number]
    end = headers[index + 1][0] if index + 1 < len(headers) else len(lines)
    return headers[index][0] + 1, end


def _statements(lines: Lines) -> Iterator[tuple[str | None, Lines]]:
    """The statements of TOML text, each with its key; without one for headers, comments and empty lines."""
    row = 0
    while row < len(lines):
        found = _KEY.match(lines[row])
        if found is None:
            yield None, [lines[row]]
            row += 1
            continue
        first, depth, inside = row, 0, ""
        while True:
            depth, inside = _open_after(lines[row], depth, inside)
            row += 1
            if (depth <= 0 and not inside) or row == len(lines):
                break
        yield found[1].strip("\"'"), lines[first:row]


def _open_after(line: str, depth: int, inside: str) -> tuple[int, str]:
    """How many brackets, and which multi-line string, are open after a line."""
    at = 0
    while at < len(line):
        if inside:
            if line[at] == "\\" and inside[0] == '"':
                at += 2
            elif line.startswith(inside, at):
                at, inside = at + len(inside), ""
            else:
                at += 1
            continue
        if line[at] == "#":
            break
        for mark in ('"""', "'''", '"', "'"):
            if line.startswith(mark, at):
                inside, at = mark, at + len(mark)
                break
        else:
            depth += (line[at] in "[{") - (line[at] in "]}")
            at += 1
    return depth, inside if len(inside) == 3 else ""


def difference(before: str, after: str, file: str) -> str:
    """What changes, as a unified diff; empty when nothing does."""
    rows = difflib.unified_diff(before.splitlines(), after.splitlines(), file, f"{file} (new)", lineterm="")
    return "\n".join(rows)


def write(path: Path, before: str, after: str) -> None:
    """Put ``after`` in the place of ``before`` at once: whoever reads the file sees the one or the other.

    Raises InputError when the file changed since it was read, or cannot be written.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if file.read() != before:
                raise InputError(f"{path} has changed meanwhile", remedy="start again from the new file")
        target = path.resolve()
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(after)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, target.stat().st_mode & 0o7777)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}", remedy="check who may write there") from error


def read(path: Path) -> str:
    """The site file's text with its line ends as they are; InputError when it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", remedy="give the path of a site file (TOML)") from error
