from __future__ import annotations

import random

import pytest

from app.core.service_time import FIT_S, BatchTimes, ServiceTime, join_service_times
from tests.support.manual_seconds import ManualSeconds


@pytest.fixture
def clock() -> ManualSeconds:
    return ManualSeconds()


@pytest.fixture
def times(clock: ManualSeconds) -> BatchTimes:
    return BatchTimes(clock)


def test_what_a_batch_and_what_a_frame_costs_are_separated(times: BatchTimes, clock: ManualSeconds):
    chance = random.Random(7)
    for _ in range(60):
        frames = chance.randint(1, 8)
        clock.now += 0.2
        times.record(frames, (0.020 + 0.005 * frames) * chance.uniform(0.9, 1.1))
    fit = times.reading()
    assert fit is not None
    assert fit.fixed_s == pytest.approx(0.020, rel=0.25)
    assert fit.frame_s == pytest.approx(0.005, rel=0.25)
    assert fit.batch_s(4) == pytest.approx(0.040, rel=0.1)


def test_batches_of_one_size_promise_no_gain(times: BatchTimes):
    for _ in range(10):
        times.record(1, 0.030)
    fit = times.reading()
    assert fit is not None
    assert (fit.fixed_s, fit.frame_s) == (0, pytest.approx(0.030))


def test_larger_batches_that_seem_cheaper_do_not_make_a_frame_cost_less_than_nothing(times: BatchTimes):
    for frames, seconds in ((1, 0.09), (4, 0.05), (1, 0.08), (4, 0.04)):
        times.record(frames, seconds)
    fit = times.reading()
    assert fit is not None
    assert fit.frame_s == 0
    assert fit.fixed_s > 0


def test_the_busy_share_is_that_of_the_last_seconds(times: BatchTimes, clock: ManualSeconds):
    for _ in range(100):
        clock.now += 0.1
        times.record(1, 0.06)
    fit = times.reading()
    assert fit is not None
    assert fit.busy == pytest.approx(0.6, abs=0.06)
    clock.now += 5
    rested = times.reading()
    assert rested is not None
    assert rested.busy == 0


def test_there_is_no_service_time_where_no_batch_ran_recently(times: BatchTimes, clock: ManualSeconds):
    assert times.reading() is None
    times.record(2, 0.1)
    clock.now += FIT_S + 1
    assert times.reading() is None


def test_the_numbers_survive_the_transport_through_serve(times: BatchTimes):
    times.record(3, 0.06)
    fit = times.reading()
    assert fit is not None
    assert ServiceTime.from_stats(fit.as_stats()) == fit
    assert ServiceTime.from_stats({}) is None


def test_of_several_replicas_the_mean_counts():
    joined = join_service_times([ServiceTime(0.01, 0.002, 1.0), ServiceTime(0.03, 0.004, 0.0)])
    assert joined == ServiceTime(pytest.approx(0.02), pytest.approx(0.003), 0.5)
    assert join_service_times([]) is None
