"""A gallery as one file: checked by length and SHA-256, written whole or not at all.

Magic (7 bytes) and version (1), length of the head (4), the head in MessagePack; of all rows first their owners
(int32), then their times (int64), then themselves (float32), all little-endian; the SHA-256 of everything before it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError

_MAGIC, _VERSION = b"SPOTGAL", 1
_START = struct.Struct("<7sBI")
_DIGEST = 32
_ANEW = "make the gallery anew, or take a copy of the file from a backup"


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a gallery is made of. owner: (N,) index into people; at_us: (N,); rows: (N, dim)."""

    model: str
    prototypes: int
    keep_s: float | None
    newest_us: int | None
    people: list[str]
    owner: NDArray[np.int32]
    at_us: NDArray[np.int64]
    rows: NDArray[np.float32]


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str
    dim: int
    count: int
    prototypes: int
    keep_s: float | None
    newest_us: int | None
    people: list[str]


def write(path: Path, content: Content) -> None:
    """Write the file beside its place and move it there. Raises InputError naming path and reason."""
    count, dim = content.rows.shape
    head = msgspec.msgpack.encode(
        _Head(content.model, dim, count, content.prototypes, content.keep_s, content.newest_us, content.people)
    )
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # What people look like is nobody else's business.
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            pieces: list[bytes | memoryview] = [_START.pack(_MAGIC, _VERSION, len(head)), head, *_raw(content)]
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise InputError(
            f"{path}: cannot be written: {error.strerror or error}", remedy="choose another place, or make room"
        ) from error


def read(path: Path) -> Content:
    """Read what ``write`` wrote. Raises InputError when it is missing, no gallery, of another version or damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", remedy="check the path") from error
    if len(data) < _START.size or not data.startswith(_MAGIC):
        raise InputError(f"{path}: no gallery ({len(data)} bytes)", remedy="give a file that a gallery was saved in")
    _, version, head_size = _START.unpack_from(data)
    if version != _VERSION:
        raise InputError(
            f"{path}: written in version {version}, this SpotOn reads version {_VERSION}",
            remedy="make the gallery anew, or read it with the SpotOn that wrote it",
        )
    body = memoryview(data)[:-_DIGEST]
    if hashlib.sha256(body).digest() != data[-_DIGEST:]:
        raise InputError(f"{path}: damaged or cut short: its checksum does not fit its {len(data)} bytes", remedy=_ANEW)
    try:
        return _content(body[_START.size :], head_size)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InputError(f"{path}: holds no gallery that makes sense ({error})", remedy=_ANEW) from error


def _content(data: memoryview, head_size: int) -> Content:
    head = msgspec.msgpack.decode(data[:head_size], type=_Head)
    arrays: list[NDArray[Any]] = []
    start = head_size
    for kind, width in (("<i4", 1), ("<i8", 1), ("<f4", head.dim)):
        array = np.frombuffer(data, dtype=kind, count=head.count * width, offset=start)
        start += array.nbytes
        arrays.append(array)
    owner, at_us, rows = arrays
    if start != len(data):
        raise ValueError(f"{len(data) - start} bytes too many")
    if head.count and not 0 <= owner.min() <= owner.max() < len(head.people):
        raise ValueError("a row of nobody")
    return Content(
        head.model, head.prototypes, head.keep_s, head.newest_us, head.people,
        owner, at_us, rows.reshape(head.count, head.dim),
    )  # fmt: skip


def _raw(content: Content) -> list[memoryview]:
    return [
        np.ascontiguousarray(array, dtype=kind).data.cast("B")
        for array, kind in ((content.owner, "<i4"), (content.at_us, "<i8"), (content.rows, "<f4"))
        if array.size
    ]
