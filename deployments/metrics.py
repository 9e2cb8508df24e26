"""The metrics of this process, exported by Ray."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ray.util import metrics

from app.telemetry.metrics import Metric
from app.telemetry.summing import SummingMeter

SMALLEST = 5e-324
"""The smallest number above 0: Ray accepts no increment of 0. Added to any other number it vanishes."""


class RayMetrics:
    """Records in Ray's metrics of this process."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def count(self, counter: Metric, labels: tuple[str, ...], more: int) -> None:
        """Increase a counter; 0 creates its series."""
        self._of("Counter", counter).inc(more or SMALLEST, tags=_tags(counter, labels))

    def set(self, gauge: Metric, labels: tuple[str, ...], value: float) -> None:
        """Set a gauge."""
        self._of("Gauge", gauge).set(value, tags=_tags(gauge, labels))

    def observe(self, histogram: Metric, labels: tuple[str, ...], values: Sequence[float]) -> None:
        """Record values of a histogram."""
        made, tags = self._of("Histogram", histogram), _tags(histogram, labels)
        for value in values:
            made.observe(value, tags=tags)

    def _of(self, kind: str, metric: Metric) -> Any:
        made = self._made.get(metric.name)
        if made is None:
            more = {"boundaries": list(metric.buckets)} if metric.buckets else {}
            made = getattr(metrics, kind)(metric.name, metric.text, tag_keys=metric.labels, **more)
            self._made[metric.name] = made
        return made


@cache
def ray_meter() -> SummingMeter:
    """Return the meter of this process."""
    return SummingMeter(RayMetrics())


def _tags(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))
