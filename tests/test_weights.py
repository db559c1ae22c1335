"""Weights come down whole or not at all, over connections that break, from servers that err."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spoton.cli import app
from spoton.errors import ModelError
from spoton.vision.weights import (
    CATALOGUE,
    RELEASE_URL,
    Weights,
    default_folder,
    download,
    find,
    known,
    pull,
    take,
    verify,
)

CONTENT = np.random.default_rng(5).bytes(300_000)
MODEL = Weights(
    "little", "little.onnx", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "Apache-2.0", "detector", "made here"
)
SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).parents[2] / "shared"))


class Release(ThreadingHTTPServer):
    """A file server that can break off, lie, or refuse. Keeps the ranges it was asked for."""

    def __init__(self, content: bytes, *, cut_after: int = 0, status: int = 0, ranges: bool = True) -> None:
        self.content, self.cut_after, self.status, self.ranges = content, cut_after, status, ranges
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights-v1"


class Answer(BaseHTTPRequestHandler):
    server: Release

    def do_GET(self) -> None:
        release, span = self.server, self.headers.get("Range", "")
        release.asked.append(span)
        if release.status:
            self.send_error(release.status)
            return
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span and release.ranges else 0
        if start >= len(release.content):
            self.send_error(416)
            return
        body = release.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(release.content) - 1}/{len(release.content)}")
        self.end_headers()
        if release.cut_after:
            self.wfile.write(body[: release.cut_after])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: tests read ``Release.asked``."""


@pytest.fixture
def serve() -> Iterator:
    started: list[tuple[Release, threading.Thread]] = []

    def start(content: bytes = CONTENT, **how: object) -> Release:
        release = Release(content, **how)
        thread = threading.Thread(target=release.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        started.append((release, thread))
        return release

    yield start
    for release, thread in started:
        release.shutdown()
        release.server_close()
        thread.join()


def test_a_download_is_whole_and_says_how_far_it_is(serve, tmp_path):
    steps: list[tuple[int, int]] = []
    path = download(MODEL, tmp_path / "new" / "folder", lambda *step: steps.append(step), base_url=serve().url)
    assert path.read_bytes() == CONTENT
    assert steps[0] == (0, len(CONTENT))
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert os.listdir(path.parent) == ["little.onnx"]


def test_a_broken_connection_is_gone_on_with(serve, tmp_path):
    release = serve(cut_after=90_000)
    path = download(MODEL, tmp_path, base_url=release.url)
    assert path.read_bytes() == CONTENT
    assert release.asked == ["", "bytes=90000-", "bytes=180000-", "bytes=270000-"]


def test_a_later_call_goes_on_with_the_part(serve, tmp_path):
    (tmp_path / "little.onnx.part").write_bytes(CONTENT[:200_000])
    release = serve()
    assert download(MODEL, tmp_path, base_url=release.url).read_bytes() == CONTENT
    assert release.asked == ["bytes=200000-"]


def test_a_server_without_ranges_starts_over(serve, tmp_path):
    (tmp_path / "little.onnx.part").write_bytes(b"x" * 1000)
    assert download(MODEL, tmp_path, base_url=serve(ranges=False).url).read_bytes() == CONTENT


def test_what_is_there_is_not_downloaded_again(serve, tmp_path):
    (tmp_path / "little.onnx").write_bytes(CONTENT)
    release = serve()
    download(MODEL, tmp_path, base_url=release.url)
    assert release.asked == []


@pytest.mark.parametrize(
    "start",
    [pytest.param(b"", id="wrong from the start"), pytest.param(b"x" * 1000, id="a part of something else")],
)
def test_wrong_bytes_never_get_the_name(serve, tmp_path, start):
    wrong = CONTENT if start else b"y" * len(CONTENT)
    if start:
        (tmp_path / "little.onnx.part").write_bytes(start)
    with pytest.raises(ModelError, match=f"little.onnx from .* expected {MODEL.sha256[:12]}.*models pull little"):
        download(MODEL, tmp_path, base_url=serve(wrong).url)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [100, 400_000])
def test_a_file_of_another_size_is_refused_at_once(serve, tmp_path, size):
    with pytest.raises(ModelError, match=f"the server has {size} bytes, little is 300000 bytes"):
        download(MODEL, tmp_path, base_url=serve(b"z" * size).url)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_names_the_answer(serve, tmp_path, status):
    with pytest.raises(ModelError, match=f"little.onnx: the server answers {status}"):
        download(MODEL, tmp_path, base_url=serve(status=status).url)


def test_a_connection_that_never_gives_a_byte_ends(serve, tmp_path):
    (tmp_path / "little.onnx.part").write_bytes(CONTENT[:10])
    release = serve(cut_after=-len(CONTENT))
    with pytest.raises(ModelError, match=r"download stopped at 10 of 300000 bytes.*again to go on"):
        download(MODEL, tmp_path, base_url=release.url)
    assert (tmp_path / "little.onnx.part").read_bytes() == CONTENT[:10]


def test_without_a_network_the_host_is_named(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()[1]
    with pytest.raises(ModelError, match=r"127.0.0.1 cannot be reached: .*refused.*check the network"):
        download(MODEL, tmp_path, base_url=f"http://127.0.0.1:{address}")


def test_a_folder_that_cannot_be_written_is_named(serve, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file/little.onnx: cannot be written.*SPOTON_WEIGHTS"):
        download(MODEL, tmp_path / "file", base_url=serve().url)


def test_the_catalogue_lists_the_release():
    assert set(CATALOGUE) == {"picodet-s", "yolox-nano", "osnet"}
    for name, weights in CATALOGUE.items():
        assert weights.name == name
        assert weights.url == RELEASE_URL + weights.file
        assert len(weights.sha256) == 64
    assert {each.licence for each in CATALOGUE.values()} == {"Apache-2.0", "MIT"}


def test_an_unknown_model_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ModelError, match=r"'resnet' is no known model; choose one of picodet-s, yolox-nano, osnet"):
        pull("resnet", tmp_path)


def test_weights_are_found_in_the_folder_and_one_below(tmp_path):
    assert find("picodet-s", tmp_path) is None
    below = tmp_path / "detector" / known("picodet-s").file
    below.parent.mkdir()
    below.write_bytes(b"")
    assert find("picodet-s", tmp_path) == below
    beside = tmp_path / known("picodet-s").file
    beside.write_bytes(b"")
    assert find("picodet-s", tmp_path) == beside


def test_a_changed_file_does_not_verify(tmp_path):
    path = tmp_path / "picodet_s_416_coco.onnx"
    path.write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"14 bytes with SHA-256 .*picodet-s has 4040573.*models pull picodet-s"):
        verify("picodet-s", path)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_the_released_files_match_the_catalogue(name):
    path = find(name, SHARED / "weights")
    if path is None:
        pytest.skip(f"no weights of {name} under {SHARED}")
    verify(name, path)
    assert path.stat().st_size == known(name).size


def test_the_folder_is_the_environments_or_the_cache():
    assert default_folder({"SPOTON_WEIGHTS": "/data/w"}) == Path("/data/w")
    assert default_folder({}) == Path.home() / ".cache" / "spoton" / "weights"


def write_catalogued(folder: Path, name: str = "osnet") -> Path:
    path = find(name, SHARED / "weights")
    if path is None:
        pytest.skip(f"no weights of {name} under {SHARED}")
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(path, folder / f"carried-{path.name}"))


def test_a_carried_file_is_taken_when_it_is_the_model(tmp_path):
    carried = write_catalogued(tmp_path / "stick")
    path = take("osnet", carried, tmp_path / "new" / "weights")
    assert path == tmp_path / "new" / "weights" / known("osnet").file
    verify("osnet", path)
    assert take("osnet", path, path.parent) == path, "one that is in its place already stays there"
    assert os.listdir(path.parent) == [path.name]


def test_a_carried_file_that_is_cut_short_or_another_is_refused(tmp_path):
    carried = write_catalogued(tmp_path)
    data = carried.read_bytes()
    carried.write_bytes(data[:-1])
    with pytest.raises(ModelError, match=r"carried-osnet.*: cut short at 891412 of 891413 bytes; download it again"):
        take("osnet", carried, tmp_path / "weights")
    carried.write_bytes(data[:-1] + b"?")
    with pytest.raises(ModelError, match=r"891413 bytes with SHA-256 .*osnet has 891413, dddd73c80b78…"):
        take("osnet", carried, tmp_path / "weights")
    with pytest.raises(ModelError, match=r"gone.onnx: cannot be read: No such file.*give the path of osnet"):
        take("osnet", tmp_path / "gone.onnx", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_what_lies_one_level_below_is_not_downloaded_again(serve, tmp_path):
    carried = write_catalogued(tmp_path / "reid")
    path = carried.rename(carried.with_name(known("osnet").file))
    release = serve()
    assert pull("osnet", tmp_path, base_url=release.url) == path
    assert release.asked == []


def spoton(*words: str, weights: Path) -> tuple[int, str]:
    told = CliRunner().invoke(app, words, env={"SPOTON_WEIGHTS": str(weights), "COLUMNS": "200"})
    if isinstance(told.exception, ModelError):
        return 1, str(told.exception)
    return told.exit_code, told.output


def test_the_list_shows_licence_origin_and_place(tmp_path):
    code, said = spoton("models", "list", "--json", weights=tmp_path)
    listed = {one["name"]: one for one in json.loads(said)["models"]}
    assert code == 0
    assert set(listed) == {*CATALOGUE, "clip"}
    assert listed["osnet"]["licence"] == "MIT"
    assert "MSMT17" in listed["osnet"]["origin"]
    assert {one["path"] for one in listed.values()} == {None}
    (tmp_path / known("osnet").file).write_bytes(b"?")
    said = spoton("models", "list", weights=tmp_path)[1]
    assert "MIT" in said
    assert "Apache-2.0" in said
    assert f"Weights lie in {tmp_path}" in said


def test_pull_from_a_file_then_verify_then_damage(tmp_path):
    carried, folder = write_catalogued(tmp_path), tmp_path / "weights"
    code, said = spoton("models", "pull", "osnet", "--from", str(carried), weights=folder)
    assert code == 0
    assert "licence of the weights: MIT" in said
    assert spoton("models", "verify", weights=folder) == (
        0, f"osnet: whole, by SHA-256 ({folder / known('osnet').file})\n"
    )  # fmt: skip
    (folder / known("osnet").file).write_bytes(b"cut")
    code, said = spoton("models", "verify", "osnet", "--json", weights=folder)
    assert code == 1
    assert "3 bytes with SHA-256" in json.loads(said)["models"][0]["problem"]


def test_verify_names_what_is_not_here_or_not_known(tmp_path):
    assert spoton("models", "verify", weights=tmp_path)[0] == 0
    assert spoton("models", "verify", "osnet", weights=tmp_path) == (
        1, f"osnet: not in {tmp_path}; run `spoton models pull osnet`"
    )  # fmt: skip
    code, said = spoton("models", "verify", "resnet", weights=tmp_path)
    assert (code, said.startswith("'resnet' is no known model; choose one of")) == (1, True)
    for word in ("verify", "pull"):
        code, said = spoton("models", word, "clip", weights=tmp_path)
        assert code == 1
        assert f"hf download openai/clip-vit-base-patch32 --local-dir {tmp_path / 'clip'}" in said
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text('{"model_type": "bert"}')
    code, said = spoton("models", "verify", "clip", weights=tmp_path)
    assert code == 1
    assert "clip: " in said
    assert "model_type = 'bert' is no CLIP" in said
