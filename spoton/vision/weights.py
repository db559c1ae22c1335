"""Weights of known models: what they are, where they lie, and how they get there."""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from spoton.errors import ModelError

RELEASE_URL = "https://github.com/spoton-vision/spoton/releases/download/weights-v1/"
_CHUNK = 1 << 16
_TIMEOUT_S = 30.0
_ATTEMPTS = 4
_RANGE_REFUSED = 416


@dataclass(frozen=True, slots=True)
class Weights:
    """One weights file of the project's release.

    size: bytes. licence: of the weights, upstream. origin: where they were trained and published first.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    task: Literal["detector", "embedder"]
    origin: str

    @property
    def url(self) -> str:
        """Where the project's official release has the file."""
        return RELEASE_URL + self.file


CATALOGUE = MappingProxyType(
    {
        each.name: each
        for each in (
            Weights(
                "picodet-s",
                "picodet_s_416_coco.onnx",
                "cdab77bdde16e4f76bec734c4e5791801d1739e4c7ec1995e0e110e04300d0c2",
                4040573,
                "Apache-2.0",
                "detector",
                "PaddleDetection, PP-PicoDet-S 416, COCO",
            ),
            Weights(
                "yolox-nano",
                "yolox_nano.onnx",
                "e8af074932d4ed7e232278e3055cefcdea3edf178874a3694ae292649fb464dd",
                3678356,
                "Apache-2.0",
                "detector",
                "Megvii YOLOX-Nano 416, COCO",
            ),
            Weights(
                "osnet",
                "osnet_x0_25_msmt17.onnx",
                "dddd73c80b78e24ef982f9c352c1947b42d67433887011e8eb33a00313edef5e",
                891413,
                "MIT",
                "embedder",
                "torchreid OSNet x0.25, trained on MSMT17 (research data)",
            ),
        )
    }
)
"""The known models by name."""


def default_folder(environment: Mapping[str, str]) -> Path:
    """Where weights lie unless told otherwise: ``$SPOTON_WEIGHTS``, else ``~/.cache/spoton/weights``."""
    chosen = environment.get("SPOTON_WEIGHTS", "")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "spoton" / "weights"


def known(name: str) -> Weights:
    """The catalogue's entry; ModelError listing the names otherwise."""
    if name not in CATALOGUE:
        raise ModelError(f"{name!r} is no known model", remedy=f"choose one of {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def find(name: str, folder: Path) -> Path | None:
    """The file of a known model in the folder or one level below it; None when it is not there."""
    file = known(name).file
    return next((path for path in (folder / file, *sorted(folder.glob(f"*/{file}"))) if path.is_file()), None)


def verify(name: str, path: Path) -> None:
    """Compare a file with the catalogue; ModelError when size or checksum differ."""
    weights = known(name)
    size = path.stat().st_size
    digest = _sha256(path)
    if digest != weights.sha256:
        raise ModelError(
            f"{path}: {size} bytes with SHA-256 {digest[:12]}…, {name} has {weights.size}, {weights.sha256[:12]}…",
            remedy=f"remove the file and run `spoton models pull {name}`",
        )


def pull(
    name: str,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    base_url: str = RELEASE_URL,
) -> Path:
    """Download a known model into the folder and give its path; see ``download``.

    One that is there already, in the folder or one level below it, is taken as it is when its checksum fits.
    """
    weights, path = known(name), find(name, folder)
    if path is not None and _sha256(path) == weights.sha256:
        progress(weights.size, weights.size)
        return path
    return download(weights, folder, progress, base_url=base_url)


def take(name: str, source: Path, folder: Path) -> Path:
    """Copy a known model's file from elsewhere into the folder, for machines without a network; its path there.

    Raises ModelError when the file cannot be read, is not that model to the last bit, or cannot be copied.
    """
    weights = known(name)
    target = folder / weights.file
    try:
        size, digest = source.stat().st_size, _sha256(source)
    except OSError as error:
        raise ModelError(
            f"{source}: cannot be read: {error.strerror or error}", remedy=f"give the path of {weights.file}"
        ) from error
    if digest != weights.sha256:
        problem = (
            f"cut short at {size} of {weights.size} bytes"
            if size < weights.size
            else f"{size} bytes with SHA-256 {digest[:12]}…, {name} has {weights.size}, {weights.sha256[:12]}…"
        )
        raise ModelError(f"{source}: {problem}", remedy=f"download it again from {weights.url}")
    part = target.with_name(target.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (target.exists() and source.samefile(target)):
            shutil.copyfile(source, part)
            _check(part, weights, str(source))
            part.replace(target)
    except OSError as error:
        raise ModelError(
            f"{target}: cannot be written: {error.strerror or error}",
            remedy="choose another folder with SPOTON_WEIGHTS",
        ) from error
    return target


def download(
    weights: Weights,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    base_url: str = RELEASE_URL,
) -> Path:
    """Download weights into the folder and give the file's path; nothing is downloaded when it is there already.

    The file grows as ``<file>.part``, which a later call goes on with, is compared with the known checksum and only
    then gets its name. progress: called with the bytes there are and the bytes there will be.

    Raises ModelError without a network, when the server refuses or has a file of another size, when the connection
    breaks several times in a row without a byte in between, when the disk refuses, and when the checksum differs (the
    part is removed then).
    """
    target = folder / weights.file
    if target.is_file() and _sha256(target) == weights.sha256:
        progress(weights.size, weights.size)
        return target
    part = target.with_name(target.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fill(base_url.rstrip("/") + "/" + weights.file, part, weights, progress)
        _check(part, weights, base_url)
        part.replace(target)
    except OSError as error:
        raise ModelError(
            f"{target}: cannot be written: {error.strerror or error}",
            remedy="choose another folder with SPOTON_WEIGHTS",
        ) from error
    return target


def _fill(url: str, part: Path, weights: Weights, progress: Callable[[int, int], None]) -> None:
    """Fill the part file up to the catalogue's size, going on after broken connections."""
    fruitless = 0
    while (have := part.stat().st_size if part.exists() else 0) < weights.size:
        progress(have, weights.size)
        problem = _fetch(url, part, have, weights, progress)
        got = part.stat().st_size if part.exists() else 0
        fruitless = 0 if got > have else fruitless + 1
        if got < weights.size and fruitless >= _ATTEMPTS:
            raise ModelError(
                f"{url}: download stopped at {got} of {weights.size} bytes: {problem or 'the connection closed'}",
                remedy=f"check the network and run `spoton models pull {weights.name}` again to go on",
            )


def _fetch(url: str, part: Path, have: int, weights: Weights, progress: Callable[[int, int], None]) -> str:
    """One request from byte ``have`` on; what broke it, empty when it ended by itself."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = _answer(request, url, weights)
    except (TimeoutError, ConnectionError) as error:
        return str(error)
    with response:
        _same_size(response, have, part, url, weights)
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        with part.open("ab" if resumed else "wb") as file:
            done = have if resumed else 0
            try:
                while done < weights.size and (chunk := response.read(min(_CHUNK, weights.size - done))):
                    file.write(chunk)
                    done += len(chunk)
                    progress(done, weights.size)
            except (TimeoutError, ConnectionError, HTTPException) as error:
                return str(error) or type(error).__name__
    return ""


def _answer(request: urllib.request.Request, url: str, weights: Weights) -> HTTPResponse:
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # type: ignore[no-any-return]
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _RANGE_REFUSED:
            raise _other_file(url, "less", weights) from error
        raise ModelError(
            f"{url}: the server answers {error.code} {error.reason}",
            remedy=f"download {weights.file} by hand and give its path",
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionResetError):
            raise error.reason from error
        raise ModelError(
            f"{url}: {urlsplit(url).hostname} cannot be reached: {error.reason}",
            remedy=f"check the network and run `spoton models pull {weights.name}` again",
        ) from error


def _same_size(response: HTTPResponse, have: int, part: Path, url: str, weights: Weights) -> None:
    """Refuse a file of another size before it is downloaded."""
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) not in (weights.size, weights.size - have):
        part.unlink(missing_ok=True)
        raise _other_file(url, length, weights)


def _other_file(url: str, size: str, weights: Weights) -> ModelError:
    return ModelError(
        f"{url}: the server has {size} bytes, {weights.name} is {weights.size} bytes",
        remedy=f"download {weights.file} by hand and give its path",
    )


def _check(part: Path, weights: Weights, base_url: str) -> None:
    digest = _sha256(part)
    if digest != weights.sha256:
        part.unlink()
        raise ModelError(
            f"{weights.file} from {base_url} has SHA-256 {digest[:16]}…, expected {weights.sha256[:16]}…",
            remedy=f"run `spoton models pull {weights.name}` again; if it stays, something on the way alters files",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
