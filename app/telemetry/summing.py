"""SummingMeter: sums what is recorded, and hands it over about once a second."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from app.telemetry.metrics import Metric
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
"""How often what was recorded is handed over."""
Series = tuple[str, tuple[str, ...]]
"""A metric's name, which takes less time to look up than the metric, and the values of its labels."""


class MetricSink(Protocol):
    """Takes what was recorded of one series since it was called last."""

    def count(self, counter: Metric, labels: tuple[str, ...], more: int) -> None:
        """Increase a counter; 0 creates its series."""

    def set(self, gauge: Metric, labels: tuple[str, ...], value: float) -> None:
        """Set a gauge."""

    def observe(self, histogram: Metric, labels: tuple[str, ...], values: Sequence[float]) -> None:
        """Record values of a histogram."""


class SummingMeter:
    """Records into memory; a thread of its own, which starts with the first record, hands it over. Thread-safe.

    What an exporter does with one value costs more than what is summed of a second's frames. What was recorded in the
    last second before the process ends is lost.
    """

    def __init__(self, sink: MetricSink, period_s: float = PERIOD_S) -> None:
        self._sink = sink
        self._period_s = period_s
        self._lock = threading.Lock()
        self._metrics: dict[str, Metric] = {}
        self._counts: dict[Series, int] = {}
        self._values: dict[Series, float] = {}
        self._observed: dict[Series, list[float]] = {}
        self._thread: threading.Thread | None = None
        self._lost = TroubleLog(logger, "metrics of a second are lost", unit="seconds", level=logging.ERROR)

    def begin(self, counter: Metric, *labels: str) -> None:
        """Create a counter's series, at 0."""
        self.add(counter, *labels, count=0)

    def add(self, counter: Metric, *labels: str, count: int = 1) -> None:
        """Increment a counter."""
        with self._lock:
            series = (counter.name, labels)
            self._counts[series] = self._counts.get(series, 0) + count
            self._know(counter)

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[gauge.name, labels] = value
            self._know(gauge)

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Record one value of a histogram."""
        with self._lock:
            self._observed.setdefault((histogram.name, labels), []).append(value)
            self._know(histogram)

    def flush(self) -> None:
        """Hand over what was recorded since the last time."""
        with self._lock:
            counts, self._counts = self._counts, {}
            values, self._values = self._values, {}
            observed, self._observed = self._observed, {}
        for (name, labels), count in counts.items():
            self._sink.count(self._metrics[name], labels, count)
        for (name, labels), value in values.items():
            self._sink.set(self._metrics[name], labels, value)
        for (name, labels), seen in observed.items():
            self._sink.observe(self._metrics[name], labels, seen)

    def _know(self, metric: Metric) -> None:
        if metric.name not in self._metrics:
            self._metrics[metric.name] = metric
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(self._period_s)
            try:
                self.flush()
            except Exception as error:  # noqa: BLE001 - an exporter raises many kinds, and the next second may go
                self._lost.report(type(error).__name__, error=error)
