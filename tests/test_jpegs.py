"""Pictures decoded where a network runs are those of the host, and whoever needs a part of one gets it."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import structlog

from agents.detectors import Detectors
from agents.sight import Sight
from spoton import events, tracks
from spoton.live.sites import Sites
from spoton.site import CameraSite, Site
from spoton.vision import jpegs
from spoton.vision.bound_run import BoundRuns
from spoton.vision.choose import make_detector
from spoton.vision.detector_contract import alike, picture
from spoton.vision.device_picture import DevicePicture
from spoton.vision.device_preparation import DevicePreparation
from spoton.vision.eyes import Eyes
from spoton.vision.histogram_embedder import HistogramEmbedder
from spoton.vision.inference import Inference
from spoton.vision.onnx_detector import OnnxDetector

_spec = importlib.util.spec_from_file_location("small_networks", Path(__file__).with_name("small_networks.py"))
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)

KINDS = {
    "as capture writes them": [cv2.IMWRITE_JPEG_QUALITY, 90],
    "poor": [cv2.IMWRITE_JPEG_QUALITY, 20],
    "full colour": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
    "half colour": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarting": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
}
SIZES = [(1080, 1920), (480, 640), (97, 211), (33, 1), (1, 17)]


def jpeg(rgb: np.ndarray, options: list[int] = KINDS["as capture writes them"]) -> bytes:
    done, data = cv2.imencode(".jpg", rgb[:, :, ::-1] if rgb.ndim == 3 else rgb, options)
    assert done
    return data.tobytes()


def turned(data: bytes) -> bytes:
    """The same JPEG with an EXIF mark that it is to be turned by a quarter (orientation 6)."""
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\0"
    payload = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + data[2:]


def on_host(one: DevicePicture) -> np.ndarray:
    return one[:, :]


@pytest.mark.models
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_the_device_are_those_of_the_host(kind):
    batch = [jpeg(picture(*size, seed), KINDS[kind]) for seed, size in enumerate(SIZES)]
    decoder = jpegs.DeviceJpegs("cpu")
    made = decoder.pictures(batch)
    assert decoder.refused == 0
    for one, data in zip(made, batch, strict=True):
        expected = jpegs.decoded(data)
        assert one.shape == expected.shape
        # Both are builds of libjpeg-turbo: another inverse transform or another filter for colours would show.
        assert np.abs(on_host(one).astype(int) - expected).max() <= 1


@pytest.mark.models
def test_grey_and_turned_pictures_are_what_opencv_makes_of_them():
    plane = picture(120, 160)[:, :, 0]
    for data, size in ((jpeg(plane), (120, 160, 3)), (turned(jpeg(picture(120, 160))), (160, 120, 3))):
        (one,) = jpegs.DeviceJpegs("cpu").pictures([data])
        assert one.shape == jpegs.decoded(data).shape == size
        assert np.abs(on_host(one).astype(int) - jpegs.decoded(data)).max() <= 1


@pytest.mark.models
def test_what_the_device_does_not_take_goes_to_opencv_and_the_log_says_so_once():
    good, other = jpeg(picture(120, 160, 1)), jpeg(picture(97, 211, 2))
    cut = good[: len(good) // 2]
    png = cv2.imencode(".png", picture(40, 50))[1].tobytes()
    decoder = jpegs.DeviceJpegs("cpu")
    with structlog.testing.capture_logs() as said:
        made = decoder.pictures([good, cut, png, b"404: Not Found", b"", other])
    assert [type(one) for one in made[:1] + made[5:]] == [DevicePicture] * 2
    assert np.array_equal(on_host(made[5]), jpegs.decoded(other))
    assert np.array_equal(made[1], jpegs.decoded(cut))
    assert np.array_equal(made[2], jpegs.decoded(png))
    assert made[2].shape == (40, 50, 3)
    assert made[3:5] == [None, None]
    assert decoder.refused == 4
    assert [line["event"] for line in said] == ["a picture is decoded on the CPU, the GPU does not take it"]
    assert "\n" not in said[0]["reason"]
    assert decoder.pictures([]) == []


def test_what_is_no_picture_is_none():
    assert [jpegs.decoded(data) for data in (b"", b"404: Not Found", b"\xff\xd8\xff")] == [None] * 3


@pytest.mark.models
def test_the_parts_of_a_picture_are_those_of_the_host():
    data = jpeg(picture(120, 160))
    (one,), whole = jpegs.DeviceJpegs("cpu").pictures([data]), jpegs.decoded(data)
    part = one[30:97, 5:42]
    assert part.flags.c_contiguous
    assert part.dtype == np.uint8
    assert np.array_equal(part, whole[30:97, 5:42])


def decodes_there(detector: OnnxDetector) -> OnnxDetector:
    """A detector that decodes and prepares pictures as on a GPU, with the host as the device."""
    detector.jpegs = jpegs.DeviceJpegs("cpu")
    detector._on_device = DevicePreparation(detector.preparation, "cpu")
    detector.graph._bound = BoundRuns(detector.graph.session, "cpu")
    return detector


@pytest.mark.models
@pytest.mark.parametrize("family", ["yolov8", "picodet"])
def test_people_are_found_in_pictures_that_never_were_on_the_host(family, tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", family)
    batch = [jpeg(picture(*size, seed)) for seed, size in enumerate([(120, 160), (97, 211), (300, 60)])]
    expected = OnnxDetector(path, inference=Inference(provider="cpu")).detect([jpegs.decoded(data) for data in batch])
    detector = decodes_there(OnnxDetector(path, inference=Inference(provider="cpu")))
    for one, other in zip(detector.detect(detector.jpegs.pictures(batch)), expected, strict=True):
        assert len(one) >= 3
        assert alike(one, other, within_px=1.0, within_score=0.01, score_edge=0.1)


@pytest.mark.models
def test_transformers_take_pictures_that_are_on_the_device(tmp_path):
    detector = make_detector(f"transformers:{networks.save_rtdetr(tmp_path)}", weights_dir=tmp_path)
    batch = [jpeg(picture(*size, seed)) for seed, size in enumerate([(120, 160), (97, 211)])]
    there = detector.detect(jpegs.DeviceJpegs("cpu").pictures(batch))
    for one, other in zip(there, detector.detect([jpegs.decoded(data) for data in batch]), strict=True):
        assert len(one) >= 3
        assert alike(one, other, within_px=0.1, within_score=1e-3, score_edge=0.1)


@pytest.mark.models
async def test_a_worker_sees_and_describes_the_same_people_either_way(tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    sites = Sites([Site("yard", (CameraSite("north"), CameraSite("south")), detector=str(path))])
    pictures = [jpeg(picture(240, 320, 1)), jpeg(picture(240, 320, 2)), b"no picture"]
    frames = [
        events.FrameCaptured(
            site="yard", camera="north", frame=number, at=number, session=1, size_px=(320, 240), jpeg=data
        )
        for number, data in enumerate(pictures)
    ]
    seen = {}
    with ThreadPoolExecutor(2) as pool:
        for where in ("host", "device"):
            eyes = {"yard": Eyes(None, str(path), tmp_path, HistogramEmbedder(), inference=Inference(provider="cpu"))}
            sight = Sight(Detectors(sites, eyes, pool), {"yard": HistogramEmbedder()}, sites, pool)
            if where == "device":
                decodes_there(sight.detectors.of(frames[0]))
            found = await sight.find(frames)
            assert found[2] is None
            assert isinstance(found[0].picture, DevicePicture) == (where == "device")
            (alone,) = await sight.find(frames[:1])
            assert alike(alone.detections, found[0].detections)
            seen[where] = await sight.describe(frames[1], found[1], tracks.initial())
    host, device = seen["host"], seen["device"]
    assert len(host.looks) >= 1
    assert host.looks.keys() == device.looks.keys()
    for row, look in host.looks.items():
        # Boxes may differ by a fraction of a pixel, and so may what is inside them.
        assert np.frombuffer(look, "<f2") == pytest.approx(np.frombuffer(device.looks[row], "<f2"), abs=0.02)
