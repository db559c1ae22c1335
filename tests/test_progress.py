"""Where a camera goes on when another worker takes it over."""

import msgspec
import numpy as np
import pytest

from agents.progress import Progress, resumed
from spoton.site import CameraSite, Site
from spoton.vision.protocols import Frame
from tables.sources import SourceState

SITE = Site("yard", ())
LIVE = CameraSite("gate", source="rtsp://192.0.2.1/1")
NOW_US = 1_700_000_000_000_000
KNOWN = SourceState(source=LIVE.source, session=3, next_frame=500, at=NOW_US - 2_000_000, period_us=40_000)


def test_a_live_camera_taken_over_gets_numbers_that_nobody_can_have_given() -> None:
    progress = resumed(SITE, LIVE, KNOWN, now_us=NOW_US, shared=True)
    # two seconds since the last frame, and half a second in which the other one may still read, at 25 frames/s
    assert progress.next_frame == 500 + 63
    assert (progress.session, progress.period_us) == (3, 40_000)


@pytest.mark.parametrize(
    ("camera", "known", "shared"),
    [
        pytest.param(LIVE, KNOWN, False, id="nobody else reads here"),
        pytest.param(CameraSite("gate", source="film.mp4"), KNOWN, True, id="a film is read where it stopped"),
        pytest.param(LIVE, msgspec.structs.replace(KNOWN, at=NOW_US - 61_000_000), True, id="long ago"),
    ],
)
def test_otherwise_numbers_go_on_without_a_gap(camera: CameraSite, known: SourceState, shared: bool) -> None:
    assert resumed(SITE, camera, known, now_us=NOW_US, shared=shared).next_frame == 500


def test_a_camera_never_read_begins_with_zero() -> None:
    assert resumed(SITE, LIVE, None, now_us=NOW_US, shared=True).next_frame == 0


def test_the_time_between_frames_is_measured_across_frames_that_were_lost() -> None:
    progress = Progress(
        recorded=False, source="", next_frame=0, session=0, epoch_us=0, origin=0, at_us=0, ended=False
    )  # fmt: skip
    picture = np.zeros((2, 2, 3), np.uint8)
    for index in (0, 1, 2, 5, 6, 9):
        progress.arrived(Frame(index, NOW_US + index * 40_000, picture), dropped=0, session=1)
    assert progress.period_us == pytest.approx(40_000)
    assert (progress.first, progress.next_frame, progress.session) == (0, 10, 1)
