"""PageMeter: the metrics of ``app/telemetry/metrics.py`` on a ``/metrics`` page of this process, without Ray.

The names are those that Ray exports for a camera in the cluster, with the prefix ``ray_``: so one set of rules and one
dashboard cover both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from app.errors import SettingsError
from app.telemetry.metrics import Metric

T = TypeVar("T", Counter, Gauge, Histogram)
PREFIX = "ray_"
"""Ray's prefix of a metric's name."""


class PageMeter:
    """Records metrics in a registry of its own, which also has this process's memory, CPU time and open files."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it would add a second series to each counter
        self._registry = CollectorRegistry()
        self._instruments: dict[str, Any] = {}
        self._lock = threading.Lock()
        ProcessCollector(registry=self._registry)

    def begin(self, counter: Metric, *labels: str) -> None:
        """Create a counter's series at 0."""
        self._of(Counter, counter, labels)

    def add(self, counter: Metric, *labels: str, count: int = 1) -> None:
        """Increment a counter, by one unless said otherwise."""
        self._of(Counter, counter, labels).inc(count)

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        """Set the current value of a gauge."""
        self._of(Gauge, gauge, labels).set(value)

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Record one value in a histogram."""
        self._of(partial(Histogram, buckets=histogram.buckets), histogram, labels).observe(value)

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[str]:
        """Serve the page while the block runs, and yield its address; port 0 takes any port that is free.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        try:
            server, thread = start_http_server(port, host, self._registry)
        except OSError as error:
            raise SettingsError(
                f"--metrics-host, --metrics-port: {host!r}, {port} cannot be listened on ({error.strerror}); allowed "
                "are an address of this machine and a port that is free, or 0 for any"
            ) from None
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{server.server_port}/metrics"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _of(self, make: Callable[..., T], metric: Metric, labels: tuple[str, ...]) -> T:
        with self._lock:
            instrument: T | None = self._instruments.get(metric.name)
            if instrument is None:
                instrument = make(PREFIX + metric.name, metric.text, metric.labels, registry=self._registry)
                self._instruments[metric.name] = instrument
        return instrument.labels(*labels) if metric.labels else instrument
