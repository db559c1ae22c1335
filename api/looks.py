"""How many looks were taken and how many saved, as Prometheus families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from spoton.vision.looks import Tally


class LooksMetrics(Collector):
    """What became of every confident box since this worker started. looked: by site, read off when asked."""

    def __init__(self, looked: Mapping[str, Tally]) -> None:
        self._looked = looked

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        boxes = CounterMetricFamily(
            "spoton_look_boxes",
            "Confident boxes by outcome: taken (embedded), known, small, covered, cut, blurred.",
            labels=["site", "outcome"],
        )
        saved = GaugeMetricFamily(
            "spoton_looks_saved_ratio", "Confident boxes that no look was taken of, of all.", labels=["site"]
        )
        for site, tally in dict(self._looked).items():
            for outcome, count in tally.counts().items():
                boxes.add_metric([site, outcome], count)
            if tally.saved is not None:
                saved.add_metric([site], tally.saved)
        yield from (boxes, saved)
