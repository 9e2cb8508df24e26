"""RayMeter: the metrics of this process, exported by Ray."""

from __future__ import annotations

from functools import cache
from typing import Any

from ray.util import metrics

from app.telemetry.metrics import Metric

SMALLEST = 5e-324
"""The smallest number above 0: Ray accepts no increment of 0. Added to any other number it vanishes."""


@cache
def _ray_metric(kind: str, metric: Metric) -> Any:
    more = {"boundaries": list(metric.buckets)} if metric.buckets else {}
    return getattr(metrics, kind)(metric.name, metric.text, tag_keys=metric.labels, **more)


class RayMeter:
    """Records values in Ray's metrics of this process."""

    def begin(self, counter: Metric, *labels: str) -> None:
        """Create a counter's series, at 0."""
        _ray_metric("Counter", counter).inc(SMALLEST, tags=_tags(counter, labels))

    def add(self, counter: Metric, *labels: str) -> None:
        """Increment a counter by one."""
        _ray_metric("Counter", counter).inc(tags=_tags(counter, labels))

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        _ray_metric("Gauge", gauge).set(value, tags=_tags(gauge, labels))

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Record one value of a histogram."""
        _ray_metric("Histogram", histogram).observe(value, tags=_tags(histogram, labels))


def _tags(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))
