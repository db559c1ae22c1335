"""Detectors as Prometheus families: memory, batches, failures; read off when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from spoton.vision.detector_state import DetectorNow, resident_peak_bytes


class DetectionMetrics(Collector):
    """now: how the detectors are doing. budget_bytes: what one network may take; None: no limit is set."""

    def __init__(self, now: Callable[[], Sequence[DetectorNow]], budget_bytes: int | None) -> None:
        self._now = now
        self._budget_bytes = budget_bytes

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        labels = ["detector"]
        cameras = GaugeMetricFamily("spoton_detector_cameras", "Cameras that it looks at.", labels=labels)
        batch = GaugeMetricFamily("spoton_detector_batch_most", "Most pictures in one run.", labels=labels)
        halved = CounterMetricFamily(
            "spoton_detector_out_of_memory", "Batches that did not fit into memory and were halved.", labels=labels
        )
        failed = CounterMetricFamily("spoton_detector_failures", "Frames on which it failed.", labels=labels)
        gpu = GaugeMetricFamily(
            "spoton_detector_gpu_peak_bytes", "The most memory that PyTorch had allocated on the GPU.", labels=labels
        )
        for one in self._now():
            cameras.add_metric([one.name], one.cameras)
            halved.add_metric([one.name], one.out_of_memory)
            failed.add_metric([one.name], one.failures)
            if one.batch is not None:
                batch.add_metric([one.name], one.batch)
            if one.gpu_peak_bytes is not None:
                gpu.add_metric([one.name], one.gpu_peak_bytes)
        yield from (cameras, batch, halved, failed, gpu)
        yield GaugeMetricFamily(
            "spoton_memory_peak_bytes", "The most memory that this process had resident.", value=resident_peak_bytes()
        )
        if self._budget_bytes is not None:
            yield GaugeMetricFamily(
                "spoton_detector_memory_budget_bytes", "What one network may take.", value=self._budget_bytes
            )
