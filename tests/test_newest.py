"""What waits to be looked at: shares of what cameras found by themselves, all pictures at once."""

import asyncio
from typing import Any

import pytest

from agents.newest import LEAST_SHARE, MOST_TAKEN, MOST_WAITING, Newest
from spoton import events


def frame(camera: int, number: int = 0, *, found: bool = True) -> Any:
    return events.FrameCaptured(
        site="yard", camera=f"camera-{camera}", frame=number, at=number + 1, session=1, size_px=(640, 480),
        found=events.FoundByCamera(boxes_px=[], scores=[]) if found else None,
    ), None  # fmt: skip


async def taken(newest: Newest) -> list[list[int]]:
    """The camera numbers of everything that waits, share by share."""
    shares = []
    while True:
        try:
            async with asyncio.timeout(0.05):
                share = await newest.take()
        except TimeoutError:
            return shares
        shares.append([int(key.rpartition("-")[2]) for key in share])


@pytest.mark.parametrize(
    ("cameras", "sizes"),
    [
        pytest.param(1, [1], id="one"),
        pytest.param(LEAST_SHARE, [LEAST_SHARE], id="the least share"),
        pytest.param(LEAST_SHARE + 3, [LEAST_SHARE, 3], id="a rest"),
        pytest.param(64, [16, 12, 9, 8, 8, 8, 3], id="a quarter of what is left each time"),
    ],
)
async def test_what_cameras_found_comes_in_shares_oldest_first(cameras: int, sizes: list[int]) -> None:
    newest = Newest()
    for camera in range(cameras):
        newest.put(frame(camera))
    shares = await taken(newest)
    assert [len(share) for share in shares] == sizes
    assert [camera for share in shares for camera in share] == list(range(cameras))


async def test_pictures_come_all_at_once_each_cameras_newest() -> None:
    newest = Newest()
    for number in range(3):
        for camera in range(20):
            newest.put(frame(camera, number, found=False))
    share = await newest.take()
    assert len(share) == 20
    assert {item[0].frame for items in share.values() for item in items} == {2}  # type: ignore[union-attr]


async def test_there_is_room_again_once_a_share_is_taken() -> None:
    newest = Newest()
    for number in range(MOST_WAITING // 16):
        for camera in range(16):
            newest.put(frame(camera, number))
    waiting = asyncio.ensure_future(newest.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    shares = [await newest.take()]
    assert sum(map(len, shares[0].values())) == MOST_TAKEN
    await asyncio.wait_for(waiting, 1)
    while sum(len(items) for share in shares for items in share.values()) < MOST_WAITING:
        shares.append(await newest.take())
    numbers = [item[0].frame for share in shares for item in share.get("yard/camera-15", ())]  # type: ignore[union-attr]
    assert numbers == list(range(MOST_WAITING // 16)), "in order, none left out"


async def test_of_a_backlog_no_more_is_taken_than_is_decided_in_one_go() -> None:
    newest = Newest()
    for number in range(MOST_TAKEN + 5):
        newest.put(frame(1, number))
    newest.put(frame(2))
    sizes = []
    while sum(sizes) < MOST_TAKEN + 6:
        taken = await newest.take()
        numbers = [captured.frame for captured, _ in taken.get("yard/camera-1", [])]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
        sizes.append(sum(map(len, taken.values())))
    assert max(sizes) == MOST_TAKEN
    assert sum(sizes) == MOST_TAKEN + 6
