"""What goes into each network is, value for value, what its family's published code would put in."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from spoton.errors import InputError
from spoton.vision.choose import make_detector
from spoton.vision.detector_contract import picture
from spoton.vision.device_preparation import DevicePreparation
from spoton.vision.preparation import Preparation, as_rgb
from spoton.vision.recipes import IMAGENET_MEAN, IMAGENET_STD

SIZES = [(1080, 1920), (360, 480), (2160, 3840), (416, 416), (97, 211), (211, 97), (33, 1), (640, 640)]
PREPARATIONS = {
    "yolox": Preparation(416, 416, "corner", "bgr"),
    "picodet": Preparation(416, 416, "stretch", "rgb", IMAGENET_MEAN, IMAGENET_STD, smooth=True),
    "yolov5": Preparation(640, 640, "centre", "rgb", std=(255.0, 255.0, 255.0)),
    "yolov8": Preparation(640, 384, "centre", "rgb", std=(255.0, 255.0, 255.0)),
}


def sibling(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference, networks = sibling("reference_detectors"), sibling("small_networks")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize("family", sorted(PREPARATIONS))
def test_tensors_are_those_of_the_published_code(family, size):
    preparation, rgb = PREPARATIONS[family], picture(*size)
    tensor, (scale_x, scale_y, left, top) = reference.INPUTS[family](rgb, preparation.width, preparation.height)
    ours = preparation.tensor(rgb)
    assert ours.dtype == np.float32
    # Where the reference rounds once as we do, to the last bit; PaddleDetection rounds after each of three steps.
    assert np.abs(ours - tensor).max() <= (1e-6 if family == "picodet" else 0.0)
    back = preparation.to_picture(np.array([[left, top, left + 10 * scale_x, top + 20 * scale_y]]), *size)
    assert back == pytest.approx(np.array([[0, 0, min(10, size[1]), min(20, size[0])]]), abs=1e-6)


def test_a_room_that_is_used_again_holds_nothing_of_the_picture_before():
    preparation = PREPARATIONS["yolov5"]
    room = preparation.empty(3)
    room[:] = np.nan
    for sizes in ([(1080, 1920), (97, 211)], [(211, 97), (640, 640), (33, 1)], [(360, 480)]):
        pictures = [picture(*size) for size in sizes]
        assert np.array_equal(preparation.batch(pictures, room), preparation.batch(pictures))


def test_what_is_no_picture_is_named():
    with pytest.raises(InputError, match=r"shape \[4, 4, 4\] and type uint8 is no picture"):
        as_rgb(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"shape \[4, 4, 3\] and type float32 is no picture"):
        as_rgb(np.zeros((4, 4, 3), np.float32))
    assert as_rgb(np.full((2, 3), 7, np.uint8)).tolist() == np.full((2, 3, 3), 7).tolist()


@pytest.mark.models
@pytest.mark.parametrize("size", SIZES[:-2], ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize("fills", [False, True], ids=["letterbox", "stretched"])
def test_tensors_are_those_of_ultralytics_itself(fills, size):
    from ultralytics.data.augment import LetterBox

    bgr = np.ascontiguousarray(picture(*size)[:, :, ::-1])
    boxed = LetterBox((640, 640), auto=False, scale_fill=fills)(image=bgr)
    theirs = np.ascontiguousarray(boxed[:, :, ::-1].transpose(2, 0, 1)).astype(np.float32) / 255
    ours = Preparation(640, 640, "stretch" if fills else "centre", "rgb", std=(255.0,) * 3).tensor(picture(*size))
    assert np.array_equal(ours, theirs)


@pytest.mark.models
@pytest.mark.parametrize("size", SIZES[:-2], ids=lambda size: f"{size[1]}x{size[0]}")
def test_tensors_are_those_of_transformers_itself(size, tmp_path):
    folder = networks.save_rtdetr(tmp_path)
    import transformers

    rgb = picture(*size)
    theirs = transformers.AutoImageProcessor.from_pretrained(folder)(
        images=[rgb], return_tensors="np", input_data_format="channels_last"
    )["pixel_values"]
    detector = make_detector(f"transformers:{folder}", weights_dir=tmp_path)
    assert np.array_equal(detector.tensors([rgb]).numpy(), theirs)


@pytest.mark.models
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize("family", sorted(PREPARATIONS))
def test_tensors_made_on_a_device_are_those_of_the_host_to_a_rounding(family, size):
    preparation = PREPARATIONS[family]
    ours, host = (
        DevicePreparation(preparation, "cpu").batch([picture(*size)]).numpy()[0],
        preparation.tensor(picture(*size)),
    )
    apart = np.abs(ours - host) * np.array(preparation.std, dtype=np.float32)[:, None, None]
    assert apart.max() <= (2.01 if preparation.smooth else 1.01)
    assert (apart > 0.5).mean() < 0.15
