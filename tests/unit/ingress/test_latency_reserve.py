"""What must be left of a frame's budget as the model begins."""

from __future__ import annotations

import pytest

from app.ingress.latency_reserve import LatencyReserve


def reserve_after(*seconds: float) -> LatencyReserve:
    reserve = LatencyReserve()
    for each in seconds:
        reserve.record(each)
    return reserve


def test_at_first_nothing_is_held_back():
    assert LatencyReserve().seconds_of(0.2) == 0


def test_it_comes_to_what_frames_take():
    assert reserve_after(*[0.04] * 200).seconds_of(0.2) == pytest.approx(0.04, rel=0.01)


def test_where_times_vary_more_is_held_back_than_they_take_on_average():
    assert 0.06 < reserve_after(*[0.01, 0.05] * 200).seconds_of(1.0) < 0.12


def test_one_long_wait_is_forgotten_within_a_hundred_frames():
    usual = reserve_after(*[0.02] * 200).seconds_of(1.0)
    assert reserve_after(*[0.02] * 200, 0.4, *[0.02] * 100).seconds_of(1.0) < usual + 0.005


def test_a_model_slower_than_the_budget_still_gets_frames():
    assert reserve_after(*[2.0] * 200).seconds_of(0.2) == pytest.approx(0.1)
