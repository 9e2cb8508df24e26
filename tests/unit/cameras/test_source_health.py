"""The state of a camera's source: who is notified of a change, and what is logged."""

from __future__ import annotations

import logging

import pytest

from app.cameras.accounts import NullObserver
from app.cameras.source_health import HealthMonitor
from app.cameras.status import CameraState
from app.core.clock import Clock


class Observer(NullObserver):
    def __init__(self) -> None:
        self.live: list[bool] = []
        self.reconnects = 0

    def up(self, live: bool) -> None:
        self.live.append(live)

    def reconnected(self) -> None:
        self.reconnects += 1


class Time:
    """Wall and monotonic time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> Clock:
        return Clock(wall_ns=lambda: int(self.now * 1e9), monotonic=lambda: self.now)


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(observer: Observer, time: Time) -> HealthMonitor:
    return HealthMonitor("gate", stall_s=5.0, observer=observer, clock=time.clock())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_source_is_starting_until_its_first_frame(monitor: HealthMonitor, observer: Observer):
    assert monitor.current.state is CameraState.STARTING
    assert observer.live == []
    monitor.live()
    assert monitor.current.state is CameraState.LIVE
    assert observer.live == [True]


def test_a_third_failed_try_in_a_row_makes_a_source_offline(monitor: HealthMonitor):
    states = []
    for failures in (1, 2, 3, 4):
        monitor.waiting("connection refused", failures)
        states.append(monitor.current.state)
    assert states == [CameraState.RECONNECTING] * 2 + [CameraState.OFFLINE] * 2


def test_a_state_keeps_its_time_while_only_its_reason_changes(monitor: HealthMonitor, time: Time):
    monitor.waiting("connection refused", 1)
    since = monitor.current.since
    time.now += 7
    monitor.waiting("no route to host", 2)
    assert (monitor.current.reason, monitor.current.since) == ("no route to host", since)
    monitor.live()
    assert (monitor.current.since - since).total_seconds() == 7


def test_the_observer_is_notified_of_changes_only_and_on_request(monitor: HealthMonitor, observer: Observer):
    monitor.live()
    monitor.live()
    monitor.stalled()
    monitor.stalled()
    assert observer.live == [True, False]
    monitor.notify()
    assert observer.live == [True, False, False]


def test_every_new_try_is_counted(monitor: HealthMonitor, observer: Observer):
    monitor.reopened()
    monitor.reopened()
    assert (monitor.reconnects, observer.reconnects) == (2, 2)


def test_a_source_that_is_live_for_the_first_time_is_logged_once(
    monitor: HealthMonitor, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        monitor.live()
        monitor.waiting("cut", 1)
        monitor.live()
    assert lines(caplog) == ["camera gate is live"]


def test_a_stall_is_logged_with_its_reason_and_its_end(monitor: HealthMonitor, caplog: pytest.LogCaptureFixture):
    monitor.live()
    with caplog.at_level(logging.INFO):
        monitor.stalled()
        monitor.stalled()
        monitor.live()
    assert lines(caplog) == ["camera gate unreachable: no frame for 5 s", "camera gate is live again after 0 s"]


def test_the_end_of_a_recording_is_a_state_and_a_line(monitor: HealthMonitor, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        monitor.ended("the file is over")
    assert (monitor.current.state, monitor.current.reason) == (CameraState.ENDED, "the file is over")
    assert lines(caplog) == ["camera gate has ended: the file is over"]
