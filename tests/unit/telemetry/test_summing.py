"""Metrics that are summed before they are handed over."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from app.telemetry.metrics import BATCH_SIZE, FRAMES_ACCEPTED, FRAMES_WAITING, SLO_BREACHES, Metric
from app.telemetry.summing import SummingMeter


class Exporter:
    """Keeps what it is handed; fails while it is told to."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, tuple[str, ...], int]] = []
        self.values: list[tuple[str, float]] = []
        self.observed: list[tuple[str, list[float]]] = []
        self.fails = False
        self.handed = threading.Event()

    def count(self, counter: Metric, labels: tuple[str, ...], more: int) -> None:
        if self.fails:
            self.fails = False
            raise OSError("away")
        self.counts.append((counter.name, labels, more))
        self.handed.set()

    def set(self, gauge: Metric, labels: tuple[str, ...], value: float) -> None:
        self.values.append((gauge.name, value))

    def observe(self, histogram: Metric, labels: tuple[str, ...], values: Sequence[float]) -> None:
        self.observed.append((histogram.name, list(values)))


def test_increments_are_handed_over_as_their_sum_once():
    exporter = Exporter()
    meter = SummingMeter(exporter, period_s=3600)
    for camera in ("a", "b", "a"):
        meter.add(FRAMES_ACCEPTED, camera)
    meter.add(FRAMES_ACCEPTED, "a", count=5)
    meter.begin(SLO_BREACHES, "a")
    assert exporter.counts == []
    meter.flush()
    meter.flush()
    assert exporter.counts == [
        (FRAMES_ACCEPTED.name, ("a",), 7),
        (FRAMES_ACCEPTED.name, ("b",), 1),
        (SLO_BREACHES.name, ("a",), 0),
    ]


def test_of_a_gauge_the_last_value_is_handed_over_and_of_a_histogram_every_one():
    exporter = Exporter()
    meter = SummingMeter(exporter, period_s=3600)
    for value in (3, 1, 2):
        meter.set(FRAMES_WAITING, value)
        meter.observe(BATCH_SIZE, value)
    meter.flush()
    assert exporter.values == [(FRAMES_WAITING.name, 2)]
    assert exporter.observed == [(BATCH_SIZE.name, [3, 1, 2])]


def test_a_thread_hands_them_over_and_goes_on_after_a_failure():
    exporter = Exporter()
    exporter.fails = True
    meter = SummingMeter(exporter, period_s=0.005)
    meter.add(FRAMES_ACCEPTED, "lost")
    for _ in range(1000):
        meter.add(FRAMES_ACCEPTED, "kept")
        if exporter.handed.wait(0.01):
            break
    assert exporter.counts[-1][1] == ("kept",)
