"""A camera's metrics: what they count of what its process reports, and that this is what the ledger says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.cameras import CameraState, CameraStatus
from app.cameras.ledger import CameraLedger, DropReason
from app.cameras.telemetry import CameraTelemetry, ReportedTelemetry, counted_since
from app.telemetry.metrics import (
    CAMERA_RECONNECTS,
    CAMERA_UP,
    FRAMES_ACCEPTED,
    FRAMES_DROPPED,
    FRAMES_IN_FLIGHT,
    FRAMES_SAMPLED,
    Metric,
)
from tests.support.statuses import camera


class Series:
    """A meter that keeps the value of each series."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}

    def begin(self, counter: Metric, *labels: str) -> None:
        self.values.setdefault((counter.name, *labels), 0)

    def add(self, counter: Metric, *labels: str, count: int = 1) -> None:
        self.values[(counter.name, *labels)] += count  # a series that was not begun is an error

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        self.values[(gauge.name, *labels)] = value

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        raise AssertionError(f"a camera has no histogram: {histogram.name}")

    def of(self, metric: Metric, *more: str) -> float | None:
        return self.values.get((metric.name, "a", *more))


def reported(ledger: CameraLedger, epoch: int = 1, reconnects: int = 0) -> CameraStatus:
    return replace(camera(epoch=epoch), ledger=ledger.snapshot(), reconnects=reconnects)


def ledger_of(sampled: int, accepted: int = 0, *dropped: DropReason) -> CameraLedger:
    made = CameraLedger()
    for _ in range(sampled):
        made.sample()
    for _ in range(accepted):
        made.accept()
    for reason in dropped:
        made.drop(reason)
    return made


@pytest.fixture
def series() -> Series:
    return Series()


@pytest.fixture
def telemetry(series: Series) -> ReportedTelemetry:
    return ReportedTelemetry(CameraTelemetry("a", series))


def test_each_frame_is_counted_once_over_all_lives_of_a_camera():
    ledger = ledger_of(3, 1, DropReason.DEADLINE)
    first = reported(ledger, reconnects=1)
    assert counted_since(None, first) == {
        "sampled": 3,
        "accepted": 1,
        "reconnected": 1,
        DropReason.DEADLINE: 1,
    }
    assert counted_since(first, first) == {}
    ledger.sample()
    assert counted_since(first, reported(ledger, reconnects=1)) == {"sampled": 1}
    assert counted_since(first, reported(ledger_of(1), epoch=2)) == {"sampled": 1}


def test_every_counter_is_there_with_0_before_anything_happens(series: Series, telemetry: ReportedTelemetry):
    for counter in (FRAMES_SAMPLED, FRAMES_ACCEPTED, CAMERA_RECONNECTS):
        assert series.of(counter) == 0
    assert {reason: series.of(FRAMES_DROPPED, reason.value) for reason in DropReason} == dict.fromkeys(DropReason, 0)


def test_the_metrics_say_what_the_ledger_says_however_often_it_is_reported(
    series: Series, telemetry: ReportedTelemetry
):
    ledger = ledger_of(9, 4, DropReason.DEADLINE, DropReason.DEADLINE, DropReason.SUPERSEDED)
    for _ in range(3):
        telemetry.report(reported(ledger, reconnects=2))
    counted = [series.of(metric) for metric in (FRAMES_SAMPLED, FRAMES_ACCEPTED, FRAMES_IN_FLIGHT, CAMERA_RECONNECTS)]
    assert counted == [9, 4, 2, 2]
    dropped = {reason: series.of(FRAMES_DROPPED, reason.value) for reason in DropReason}
    assert {reason: count for reason, count in dropped.items() if count} == {
        DropReason.DEADLINE: 2,
        DropReason.SUPERSEDED: 1,
    }


def test_a_new_life_adds_to_what_the_one_before_counted(series: Series, telemetry: ReportedTelemetry):
    telemetry.report(reported(ledger_of(5, 5), epoch=1, reconnects=3))
    telemetry.report(reported(ledger_of(2, 1), epoch=2, reconnects=1))
    assert [series.of(one) for one in (FRAMES_SAMPLED, FRAMES_ACCEPTED, CAMERA_RECONNECTS)] == [7, 6, 4]
    assert series.of(FRAMES_IN_FLIGHT) == 1


@pytest.mark.parametrize("state", CameraState)
def test_only_a_live_camera_is_up(series: Series, telemetry: ReportedTelemetry, state: CameraState):
    telemetry.report(camera(state=state))
    assert series.of(CAMERA_UP) == (state is CameraState.LIVE)


def test_a_camera_that_does_not_answer_is_down_and_keeps_its_counts(series: Series, telemetry: ReportedTelemetry):
    telemetry.report(reported(ledger_of(5, 5)))
    before = dict(series.values)
    telemetry.report(None)
    assert series.values == {**before, (CAMERA_UP.name, "a"): 0}
