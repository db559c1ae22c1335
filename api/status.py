"""``/health`` and ``/metrics`` of a worker that serves no API: what it does, how far behind it is."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import psutil
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Lag = Callable[[], Mapping[Any, int]]


class WorkerMetrics(Collector):
    """One worker as Prometheus families, read off when asked."""

    def __init__(self, role: str, lag: Lag, restarts: Mapping[str, int]) -> None:
        self._role = role
        self._lag = lag
        self._restarts = restarts
        self._process = psutil.Process(os.getpid())

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        lag = GaugeMetricFamily(
            "spoton_worker_lag_records", "Records that wait in a partition.", labels=["role", "topic", "partition"]
        )
        for tp, behind in self._lag().items():
            lag.add_metric([self._role, tp.topic, str(tp.partition)], behind)
        restarts = CounterMetricFamily(
            "spoton_worker_restarts", "Times that this role was started again.", labels=["role", "reason"]
        )
        for reason in ("crashed", "failed", "fenced", "stalled"):
            restarts.add_metric([self._role, reason], self._restarts.get(reason, 0))
        memory = GaugeMetricFamily("spoton_worker_resident_bytes", "Resident memory.", labels=["role"])
        memory.add_metric([self._role], self._process.memory_info().rss)
        cpu = CounterMetricFamily("spoton_worker_cpu_seconds", "Processor time used.", labels=["role"])
        times = self._process.cpu_times()
        cpu.add_metric([self._role], times.user + times.system)
        yield from (lag, restarts, memory, cpu)


def create_status(
    *,
    role: str,
    version: str,
    lag: Lag,
    restarts: Mapping[str, int],
    broker: Callable[[], Awaitable[Mapping[str, Any]]],
    more: Iterable[Collector] = (),
) -> web.Application:
    """The two routes of one worker.

    broker: measures how the broker is, ``status`` ``ok`` or ``down``. more: what else ``/metrics`` shows.
    """
    registry = CollectorRegistry()
    for collector in (WorkerMetrics(role, lag, restarts), *more):
        registry.register(collector)
    app = web.Application()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(_: web.Request) -> web.Response:
        found = dict(await broker())
        body = {"status": found["status"], "role": role, "version": version, "services": {"broker": found}}
        return web.json_response(body, status=503 if found["status"] == "down" else 200)

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/health", health)
    return app
