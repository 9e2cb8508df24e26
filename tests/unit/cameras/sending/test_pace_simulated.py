"""What the pace comes to where cameras ask for more than there is; by simulation, so that it is the same each time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.simulated_pace import Load, Simulation

OVERLOADS = [Load(8, 10, 0.055), Load(16, 10, 0.042), Load(16, 5, 0.042), Load(32, 10, 0.042)]


@pytest.mark.parametrize("load", OVERLOADS, ids=lambda load: f"{load.cameras} x {load.fps} FPS")
def test_in_overload_the_detectors_are_busy_the_frames_in_time_and_the_cameras_equal(load: Load):
    came = Simulation(load, seed=1).run()
    assert came.use > 0.9
    assert came.within > 0.96
    assert came.fairness > 0.9
    assert came.expired < 0.1 * len(came.delays)


@pytest.mark.parametrize("frame_s", [0.01, 0.016])
def test_where_the_model_is_fast_and_the_network_short_the_detectors_are_hardly_ever_idle(frame_s: float):
    came = Simulation(Load(8, 30, frame_s), seed=1).run()
    assert came.use > 0.98
    assert came.within > 0.999
    assert came.fairness > 0.98


def test_without_overload_no_frame_is_left_out_and_none_waits():
    came = Simulation(Load(8, 5, 0.025), seed=1).run()
    assert len(came.delays) == pytest.approx(8 * 5 * came.seconds, rel=0.01)
    assert came.median_s < 0.06
    assert came.expired == 0


@pytest.mark.parametrize("fps", [10, 30])
def test_where_single_answers_are_late_by_chance_nearly_all_that_is_offered_is_delivered(fps: float):
    load = Load(8, fps, 0.002, call_s=0.006, batch=16, late_share=0.05)
    came = Simulation(load, seed=1).run(30)
    assert came.rate(0, 30) > 0.8 * 8 * fps
    assert came.fairness > 0.99
    assert came.median_s < 0.05


@pytest.mark.parametrize(
    "load", [Load(8, 30, 0.002, call_s=0.006, batch=16), Load(16, 10, 0.042)], ids=["free", "full"]
)
def test_a_service_that_stopped_for_two_seconds_delivers_as_before_within_three(load: Load):
    came = Simulation(replace(load, stops=((12, 14),)), seed=1).run(22)
    before = came.rate(4, 12)
    assert came.rate(17, 22) > 0.9 * before
    assert came.rate(14, 17) > 0.75 * before


TOLD = [replace(load, explicit=True) for load in OVERLOADS]


@pytest.mark.parametrize("load", TOLD, ids=lambda load: f"{load.cameras} x {load.fps} FPS")
def test_cameras_that_are_told_how_often_to_send_use_all_there_is_in_equal_shares(load: Load):
    came = Simulation(load, seed=1).run(40)
    assert came.use > 0.93
    assert came.within > 0.94
    assert came.fairness > 0.98
    assert came.expired < 0.2 * len(came.delays)


def test_cameras_that_are_told_lose_nothing_without_overload_or_by_single_late_answers():
    free = Simulation(Load(8, 5, 0.025, explicit=True), seed=1).run(30)
    assert (len(free.delays), free.expired) == (pytest.approx(8 * 5 * 30, rel=0.01), 0)
    late = Simulation(Load(8, 30, 0.002, call_s=0.006, batch=16, late_share=0.05, explicit=True), seed=1).run(20)
    assert late.rate(0, 20) > 0.95 * 8 * 30
    assert late.fairness > 0.99


@pytest.mark.parametrize(
    "load", [Load(8, 20, 0.015, explicit=True), Load(16, 10, 0.042, explicit=True)], ids=["fast", "slow"]
)
def test_cameras_that_are_told_are_back_three_seconds_after_a_stop_or_a_neighbour(load: Load):
    stopped = Simulation(replace(load, stops=((12, 14),)), seed=1).run(20)
    assert stopped.rate(16, 20) > 0.9 * stopped.rate(4, 12)
    disturbed = Simulation(replace(load, neighbour=(12, 18)), seed=1).run(26)
    assert disturbed.rate(14, 18) > 0.45 * disturbed.rate(4, 12)
    assert disturbed.rate(21, 26) > 0.85 * disturbed.rate(4, 12)


def test_answers_that_take_long_whatever_is_sent_do_not_keep_cameras_that_are_told_slow():
    load = Load(8, 20, 0.003, call_s=0.006, batch=16, drag_s=0.1)
    by_themselves = Simulation(load, seed=1).run(20).rate(0, 20)
    told = Simulation(replace(load, explicit=True), seed=1).run(20)
    assert told.rate(0, 20) > 3 * by_themselves
    assert told.fairness > 0.98


def test_what_is_delivered_never_falls_as_more_is_offered():
    capacity = 2 / 0.03
    delivered = []
    for times in (0.75, 1.25, 2.0, 6.0):
        load = Load(8, times * capacity / 8, 0.03, explicit=True)
        delivered.append(Simulation(load, seed=1).run(10).rate(0, 10))
    assert min(delivered[1:]) > 0.9 * min(max(delivered), capacity)


def test_the_same_seed_gives_the_same_result():
    load = OVERLOADS[0]
    assert Simulation(load, seed=7).run(20).delays == Simulation(load, seed=7).run(20).delays
