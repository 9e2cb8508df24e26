"""RayMeter: the metrics of this process, kept by Ray."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a camera on the edge has no Kafka client
    pass
from app.telemetry.metrics import Metric

NOTHING = 5e-324
"""The smallest number above 0: Ray takes no smaller increment. Beside any other number it vanishes."""


@cache
def _of_ray(kind: str, metric: Metric) -> Any:
    from ray.util import metrics  # here: a camera on the edge has no Ray

    more = {"boundaries": list(metric.buckets)} if metric.buckets else {}
    return getattr(metrics, kind)(metric.name, metric.text, tag_keys=metric.labels, **more)


class RayMeter:
    """Keeps the numbers in Ray's own metrics of this process."""

    def begin(self, counter: Metric, *labels: str) -> None:
        """Let a counter's series be there."""
        _of_ray("Counter", counter).inc(NOTHING, tags=_tags(counter, labels))

    def add(self, counter: Metric, *labels: str) -> None:
        """Count one."""
        _of_ray("Counter", counter).inc(tags=_tags(counter, labels))

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        """Return what is now."""
        _of_ray("Gauge", gauge).set(value, tags=_tags(gauge, labels))

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Note one value of many."""
        _of_ray("Histogram", histogram).observe(value, tags=_tags(histogram, labels))


def _tags(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))
