"""The live page in a real browser, served by the real API, fed with the simulated plaza's events in real time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from api import checks
from api.app import create_api
from api.health import Health
from api.history import NoHistory
from api.keys import SITE
from spoton import events
from spoton.live.state import LiveState
from spoton.sim.plaza import Plaza
from spoton.sim.rigs import views_of
from spoton.sim.scenario import Scenario
from spoton.site import Floor, Site

WIDTHS = ((1440, 900), (390, 844))
PEOPLE_ON_MAP = "document.querySelectorAll('#list .person').length"
BOXES_DRAWN = "[...document.querySelectorAll('.tile canvas')].map((one) => Number(one.dataset.boxes ?? 0))"
# How many pixels of the map are as colourful as people are and nothing else is.
VIVID = """(() => {
  const map = document.getElementById('map');
  const copy = Object.assign(document.createElement('canvas'), { width: map.width, height: map.height });
  const paint = copy.getContext('2d', { willReadFrequently: true });
  paint.drawImage(map, 0, 0);
  const { data } = paint.getImageData(0, 0, map.width, map.height);
  let vivid = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [most, least] = [Math.max(data[i], data[i + 1], data[i + 2]), Math.min(data[i], data[i + 1], data[i + 2])];
    if (most > 190 && most - least > 90) vivid += 1;
  }
  return vivid;
})()"""


class Scene:
    """A running API over a plaza: ``feed`` plays it, ``url`` shows it."""

    def __init__(self, plaza: Plaza, plaza_feed: ModuleType, folder: Path) -> None:
        drawn = np.full((240, 320, 3), 90, np.uint8)
        (folder / "plan.png").write_bytes(cv2.imencode(".png", drawn)[1].tobytes())
        floor = Floor(size_m=plaza.layout.size_m, plan="plan.png")
        self.site: Site = dataclasses.replace(plaza_feed.site_of(plaza), floor=floor, file=str(folder / "site.toml"))
        self.live = LiveState(self.site)
        self.plaza, self._source = plaza, plaza_feed
        self.server: TestServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return str(self.server.make_url("/"))

    def feed(self) -> Any:
        return self._source.PlazaFeed(self.plaza, self.live, self.site)


@pytest.fixture(scope="module")
def plaza() -> Plaza:
    return Plaza(seed=7, people=12, cameras=4, fps=4.0, size_px=(320, 240))


@pytest.fixture
async def scene(plaza: Plaza, plaza_feed: ModuleType, tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(plaza, plaza_feed, tmp_path)
    health = Health({"redis": checks.redis(None), "gpu": checks.gpu()}, version="1.2.3")
    app = create_api(
        site=made.site, live=made.live, history=NoHistory(), health=health, registry=CollectorRegistry(),
        heartbeat_s=1.0,
    )  # fmt: skip
    made.server = TestServer(app)
    await made.server.start_server(shutdown_timeout=2)
    yield made
    await made.server.close()


@pytest.fixture
async def playing(scene: Scene) -> AsyncIterator[Scene]:
    task = asyncio.create_task(scene.feed().play())
    yield scene
    assert not task.done(), task.exception()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def text_of(tab: Any, element: str) -> str:
    return str(await tab.run(f"document.getElementById('{element}').textContent"))


async def test_the_page_shows_people_on_the_map_and_in_the_pictures(
    playing: Scene, chromium: Any, tmp_path: Path
) -> None:
    tab = await chromium.open(playing.url, width=1440, height=900)
    await tab.until("document.getElementById('connection').dataset.state === 'live'")
    await tab.until(f"{PEOPLE_ON_MAP} >= 10")
    await tab.until(f"{BOXES_DRAWN}.length === 4 && {BOXES_DRAWN}.every((count) => count > 0)")
    assert await tab.run(VIVID) > 10 * 150, "ten discs of twenty pixels"
    assert await text_of(tab, "fact-detector") == "built-in"
    assert await text_of(tab, "fact-cameras") == "4 of 4"
    assert int(await text_of(tab, "fact-people")) >= 10
    assert "fps" in await tab.run("document.querySelector('.tile .health').textContent")
    await tab.until("document.getElementById('services').textContent.includes('redis not configured')")
    first = await text_of(tab, "fact-newest")
    await tab.until(f"document.getElementById('fact-newest').textContent !== {json.dumps(first)}")

    for width, height in WIDTHS:
        await tab.look(width, height, mobile=width < 500)
        await tab.until(f"innerWidth === {width}")
        await tab.until(VIVID)
        assert await tab.run("document.documentElement.scrollWidth") <= width
        for scheme in ("dark", "light"):
            await tab.look(width, height, dark=scheme == "dark", mobile=width < 500)
            await tab.run("new Promise((done) => setTimeout(done, 300))")
            await tab.screenshot(tmp_path / f"page-{width}-{scheme}.png")
    assert tab.problems == []


async def test_handoff_zones_can_be_drawn_and_taken_away(scene: Scene, chromium: Any, tmp_path: Path) -> None:
    """A hall with blind gaps: a stack of pixels turns green where people go from view to view, and back again."""
    scenario = Scenario(cameras=8, rig="gaps", floor_m=(36.0, 14.0))
    hall = SimpleNamespace(views=views_of(scenario)[4:], layout=SimpleNamespace(size_m=scenario.floor_m))
    site = dataclasses.replace(scene._source.site_of(hall), zones=())
    assert scene.server is not None
    scene.server.app[SITE] = lambda: site  # type: ignore[index]
    tab = await chromium.open(scene.url, width=1440, height=900)
    await tab.until("document.getElementById('handoffs').hidden === false")
    before = await tab.run("document.getElementById('map').toDataURL()")
    await tab.run("document.getElementById('handoffs').click()")
    await tab.until("Number(document.getElementById('map').dataset.handoffs) >= 4")
    await tab.run("new Promise((done) => setTimeout(done, 300))")
    assert await tab.run("document.getElementById('map').toDataURL()") != before
    for width, height in WIDTHS:
        for scheme in ("dark", "light"):
            await tab.look(width, height, dark=scheme == "dark", mobile=width < 500)
            await tab.run("new Promise((done) => setTimeout(done, 300))")
            await tab.until(f"document.documentElement.scrollWidth <= {width}")
            await tab.screenshot(tmp_path / f"handoffs-{width}-{scheme}.png")
    await tab.run("document.getElementById('handoffs').click()")
    await tab.until("document.getElementById('map').dataset.handoffs === '0'")
    assert tab.problems == []


async def jumping(live: LiveState) -> None:
    """One box that is elsewhere in every frame; the picture shows a white patch at the very same place."""
    for n in range(100_000):
        at = time.time_ns() // 1000
        left = 20.0 + 37 * n % 240
        picture = np.zeros((240, 320, 3), np.uint8)
        cv2.rectangle(picture, (int(left), 80), (int(left) + 40, 180), (255, 255, 255), -1)
        live.picture("south-west", n, at, cv2.imencode(".jpg", picture)[1].tobytes())
        live.apply(
            events.PeopleDetected(
                id=str(n), at=at, site="plaza", seq=n + 1, camera="south-west", frame=n, size_px=(320, 240),
                boxes_px=[(left, 80.0, 40.0, 100.0)], scores=[0.9], tracks=[1],
            )
        )  # fmt: skip
        await asyncio.sleep(0.05)


async def test_a_picture_carries_the_boxes_of_its_own_frame(scene: Scene, chromium: Any) -> None:
    feeding = asyncio.create_task(jumping(scene.live))
    tab = await chromium.open(scene.url, width=1440, height=900)
    await tab.until(f"{BOXES_DRAWN}[0] === 1")
    # all that is bright in a band across the middle is the patch and the box around it: as wide as one of them
    extent = """(() => {
      const canvas = document.querySelector('.tile canvas');
      const [w, h] = [canvas.width, 40];
      const { data } = canvas.getContext('2d').getImageData(0, (canvas.height - h) >> 1, w, h);
      const bright = new Set();
      for (let i = 0; i < w * h; i += 1) if (data[4 * i + 1] > 150) bright.add(i % w);
      return [Math.min(...bright) * 320 / w, Math.max(...bright) * 320 / w];
    })()"""
    places = set()
    for _ in range(12):
        first, last = await tab.run(extent)
        assert 36 <= last - first <= 48
        places.add(round(first))
        await asyncio.sleep(0.21)
    assert len(places) >= 5, "the pictures did not go on"
    feeding.cancel()


async def test_choosing_a_person_marks_them_everywhere_and_escape_lets_go(playing: Scene, chromium: Any) -> None:
    tab = await chromium.open(playing.url, width=1440, height=900)
    await tab.until(f"{PEOPLE_ON_MAP} >= 10")
    number = await tab.run("(() => { const one = document.querySelectorAll('.person')[2]; one.click();"
                           " return one.querySelector('.chip').textContent; })()")  # fmt: skip
    chosen = "document.querySelectorAll('.person[aria-pressed=true]').length"
    await tab.until(f"{chosen} === 1")
    await tab.until("document.getElementById('chosen').textContent.includes('no history database is configured')")
    assert f"Person {number}" in await text_of(tab, "chosen")
    for kind in ("keyDown", "keyUp"):
        await tab.call("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape")
    await tab.until(f"{chosen} === 0 && document.getElementById('chosen').hidden")


async def test_an_empty_site_says_what_to_do(scene: Scene, chromium: Any) -> None:
    tab = await chromium.open(scene.url, width=390, height=844, mobile=True)
    await tab.until("document.getElementById('connection').dataset.state === 'live'")
    await tab.until("!document.getElementById('map-empty').hidden")
    assert (await text_of(tab, "map-empty")).startswith("No camera delivers pictures yet:")
    assert await text_of(tab, "fact-cameras") == "0 of 4"
    assert "check this camera’s source" in await tab.run("document.querySelector('.tile .say').textContent")
    assert await tab.run("document.documentElement.scrollWidth") <= 390
    assert tab.problems == []


async def test_the_page_comes_back_after_the_server_was_away(scene: Scene, chromium: Any) -> None:
    """The same page, not loaded again, finds the server when it is back on the same port."""
    scene.feed().tick(0)
    tab = await chromium.open(scene.url, width=1440, height=900)
    await tab.until(f"{PEOPLE_ON_MAP} >= 10")
    assert scene.server is not None
    port = scene.server.port
    app = create_api(
        site=scene.site, live=scene.live, history=NoHistory(), health=Health({}, version="1"),
        registry=CollectorRegistry(),
    )  # fmt: skip
    await scene.server.close()
    await tab.until("document.getElementById('connection').dataset.state === 'lost'")
    again = TestServer(app, port=port)
    await again.start_server(shutdown_timeout=2)
    await tab.until("document.getElementById('connection').dataset.state === 'live'")
    await again.close()
