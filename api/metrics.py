"""``/metrics``: Prometheus text, read off live state when asked."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from spoton.live.state import LiveState


class LiveMetrics(Collector):
    """Live state as Prometheus families; nothing is counted twice."""

    def __init__(self, live: LiveState) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        yield from self._cameras()
        site, traffic = [self._live.site], self._live.traffic()
        yield _one(GaugeMetricFamily, "spoton_people", "People on the floor now.", site, len(self._live.persons()))
        yield _one(GaugeMetricFamily, "spoton_live_clients", "Live clients connected.", site, traffic.clients)
        yield _one(
            CounterMetricFamily, "spoton_live_messages", "Messages published to live clients.", site, traffic.published
        )
        yield _one(
            CounterMetricFamily,
            "spoton_live_messages_dropped",
            "Messages that slow clients got a snapshot in place of.",
            site,
            traffic.dropped,
        )
        age_s = self._live.event_age_s()
        if age_s is not None:
            yield _one(
                GaugeMetricFamily, "spoton_event_age_seconds", "How far the newest event lies behind.", site, age_s
            )

    def _cameras(self) -> Iterator[Metric]:
        labels = ["site", "camera"]
        online = GaugeMetricFamily("spoton_camera_online", "1 while the camera delivers.", labels=labels)
        fps = GaugeMetricFamily("spoton_camera_fps", "Frames looked at per second, last 5 s.", labels=labels)
        people = GaugeMetricFamily("spoton_camera_people", "People followed in the newest frame.", labels=labels)
        lag = GaugeMetricFamily("spoton_camera_lag_seconds", "Age of the newest frame when looked at.", labels=labels)
        frames = CounterMetricFamily("spoton_camera_frames", "Frames looked at.", labels=labels)
        skipped = CounterMetricFamily("spoton_camera_frames_skipped", "Frames never looked at.", labels=labels)
        for camera in self._live.cameras():
            where = [self._live.site, camera.name]
            online.add_metric(where, camera.status == "online")
            people.add_metric(where, camera.people)
            frames.add_metric(where, camera.frames)
            skipped.add_metric(where, camera.frames_skipped)
            if camera.fps is not None:
                fps.add_metric(where, camera.fps)
            if camera.lag_s is not None:
                lag.add_metric(where, camera.lag_s)
        skew = GaugeMetricFamily("spoton_camera_clock_skew_seconds", "What its clock is off by.", labels=labels)
        drifted = GaugeMetricFamily("spoton_camera_drifted", "1 once it seems to have been moved.", labels=labels)
        moved = GaugeMetricFamily("spoton_camera_moved_metres", "How far, when last told.", labels=labels)
        for name, told in self._live.skews.items():
            skew.add_metric([self._live.site, name], told.skew_s)
        for name, alarm in self._live.drifts.items():
            drifted.add_metric([self._live.site, name], alarm.drifted)
            moved.add_metric([self._live.site, name], alarm.moved_m)
        yield from (online, fps, people, lag, frames, skipped, skew, drifted, moved)


def _one(
    family: type[GaugeMetricFamily] | type[CounterMetricFamily], name: str, text: str, site: list[str], value: float
) -> Metric:
    metric = family(name, text, labels=["site"])
    metric.add_metric(site, value)
    return metric


def attach(app: web.Application, *, live: LiveState, registry: CollectorRegistry) -> None:
    """Put live state into the registry and serve all of it."""
    registry.register(LiveMetrics(live))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/metrics", metrics)
