"""A worker that reads cameras dies: how soon another one reads them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from spoton import events
from spoton.errors import SpotOnError
from spoton.kafka.settings import servers
from spoton.kafka.tail import read_whole
from spoton.kafka.topics import ensure, plans
from spoton.trials.cluster import Cluster, until
from spoton.trials.load import Watch
from spoton.trials.verdict import Outcome, largest_mb

NAME = "capture worker killed"


async def run_trial(folder: Path, broker_url: str, *, partitions: int = 4, watch_s: float = 20.0) -> Outcome:
    """Two capture workers read four small films that begin anew when they end; the first worker is killed.

    skipped: numbers that no frame has; duplicated: numbers that came twice.

    Raises SpotOnError when cameras are not read.
    """
    settings = {"bootstrap_servers": servers(broker_url)}
    names = [f"gate-{number}" for number in range(4)]
    _film(folder / "film.mp4")
    cameras = "".join(f'[[camera]]\nname = "{name}"\nsource = "film.mp4"\nloop = true\n' for name in names)
    (folder / "site.toml").write_text(f'[site]\nname = "yard"\n{cameras}')
    await ensure(broker_url, plans(partitions))
    cluster = Cluster(broker_url, "postgresql://nobody@127.0.0.1:1/none", folder / "site.toml", folder, partitions)
    watch = Watch(settings, "yard", ("frames",))
    watching = asyncio.create_task(watch.run())
    try:
        workers = [cluster.worker("capture"), cluster.worker("capture")]
        await cluster.ready(*workers)
        await until(lambda: len(watch.arrived) == len(names), 60, "the first frames")
        await asyncio.sleep(2.0)
        began_s = time.monotonic()
        cluster.kill(workers[0])
        await asyncio.sleep(watch_s)
        if any(seen[-1] < began_s for seen in watch.arrived.values()):
            raise SpotOnError(f"a camera was not taken over within {watch_s:g} s")
        memory_mb = largest_mb(cluster)
        numbers = await _numbers(settings)
    finally:
        watching.cancel()
        await asyncio.to_thread(cluster.stop)
    gaps = sum(max(seen) - min(seen) + 1 - len(seen) for seen in numbers.values())
    return Outcome(
        fault=NAME,
        events_in=sum(sum(seen.values()) for seen in numbers.values()),
        lost=None,
        duplicated=sum(count - 1 for seen in numbers.values() for count in seen.values()),
        ids_changed=None,
        recovery_s=round(watch.silence_s(began_s), 1),
        skipped=gaps,
        largest_mb=round(memory_mb, 1),
    )


def _film(path: Path) -> None:
    """Ten seconds at ten frames a second, small, so that decoding takes next to nothing."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.time_base = Fraction(1, 10)
        for n in range(100):
            picture = np.full((96, 128, 3), 2 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


async def _numbers(settings: dict[str, list[str]]) -> dict[str, Counter[int]]:
    records, _ = await read_whole(settings, "frames")
    numbers: dict[str, Counter[int]] = {}
    for record in records:
        captured = events.decode_captured(record.value)
        if isinstance(captured, events.FrameCaptured):
            numbers.setdefault(captured.camera, Counter())[captured.frame] += 1
    return numbers
