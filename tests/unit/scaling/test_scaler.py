from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.service_time import ServiceTime
from app.errors import SettingsError
from app.scaling import Demand, Scaler, ScalingNumbers, Situation
from tests.support.simulated_scaling import NUMBERS, Simulation, turns

TICK_S = 0.25


def steady(fps: float, cameras: float = 8):
    return lambda _: (fps, cameras)


def steps(*load: tuple[float, float, float]):
    """Rows of (from second, frames per second, cameras)."""
    return lambda now: next((fps, cameras) for begin, fps, cameras in reversed(load) if now >= begin)


@settings(max_examples=100, deadline=None)
@given(
    fps=st.floats(0.5, 200),
    cameras=st.integers(1, 60),
    frame_s=st.floats(0.005, 0.3),
    fixed_s=st.floats(0, 0.05),
    start_s=st.floats(0.5, 40),
    stale_s=st.floats(0, 3),
    noise=st.floats(0, 0.12),
    seed=st.integers(0, 1000),
)
def test_a_steady_load_with_noise_never_makes_it_oscillate(
    fps: float, cameras: int, frame_s: float, fixed_s: float, start_s: float, stale_s: float, noise: float, seed: int
):
    simulation = Simulation(
        steady(fps, cameras), fixed_s, frame_s, start_s=start_s, stale_s=stale_s, noise=noise, seed=seed, tick_s=1.0
    )
    targets = simulation.run(400)
    assert turns(targets) == 0
    # It may still learn within the first minutes; the last two see no change at all, if noise cannot reach a step.
    if noise == 0:
        assert len(set(targets[-120:])) == 1


@settings(max_examples=60, deadline=None)
@given(
    first=st.floats(1, 80), second=st.floats(1, 80), third=st.floats(1, 80),
    noise=st.floats(0, 0.1), start_s=st.floats(1, 20), seed=st.integers(0, 99),
)  # fmt: skip
def test_after_steps_of_the_load_it_turns_no_more_often_than_the_load(
    first: float, second: float, third: float, noise: float, start_s: float, seed: int
):
    load = steps((0, first, 8), (120, second, 8), (300, third, 8))
    simulation = Simulation(load, noise=noise, start_s=start_s, seed=seed, tick_s=1.0)
    assert turns(simulation.run(500)) <= turns([0, first, second, third])


@settings(max_examples=60, deadline=None)
@given(fps=st.floats(1, 100), frame_s=st.floats(0.01, 0.2), hidden=st.floats(1, 2), start_s=st.floats(0.5, 30))
def test_in_the_end_no_frame_is_late_where_there_may_be_enough_replicas(
    fps: float, frame_s: float, hidden: float, start_s: float
):
    """Also where a frame really costs up to twice what was measured: late frames are believed."""
    simulation = Simulation(steady(fps), frame_s=frame_s, hidden=hidden, start_s=start_s, most=100, tick_s=1.0)
    targets = simulation.run(900)
    # A tenth of late frames is let pass; that is a use of 0.95 / 0.9.
    assert simulation.late[-1] <= NUMBERS.late_share + 0.01
    assert turns(targets) == 0


def test_up_at_once_and_down_slowly():
    load = steps((0, 5, 1), (60, 40, 8), (120, 10, 2))
    targets = Simulation(load, frame_s=0.075).run(240)

    def at(seconds: float) -> int:
        return targets[round(seconds / TICK_S)]

    assert at(59) == 1
    assert at(60 + 1.5 + 1 + 2 * TICK_S) == 4  # 40 frames/s x 75 ms / 0.75
    assert at(120 + 59) == 4
    assert at(120 + 1.5 + 60 + 2 * TICK_S) == 2  # 10 frames/s x 75 ms / 0.55
    assert targets[-1] == 2


def test_a_dip_that_is_shorter_than_the_delay_lets_no_replica_go():
    load = steps((0, 40, 8), (100, 2, 1), (150, 40, 8))
    targets = Simulation(load).run(400)
    assert set(targets[round(20 / TICK_S) :]) == {4}


def test_a_hiccup_that_is_shorter_than_the_delay_starts_no_replica():
    load = steps((0, 5, 1), (100, 60, 8), (100.5, 5, 1))
    assert set(Simulation(load).run(200)) == {1}


def test_batches_gain_only_what_the_cameras_can_gather():
    """Two frames in a batch would be 40 a second, but one camera of 20 frames/s has one in hand at a time."""
    one = Demand(20, 20, 0, cameras=1, settled_fps=20, late_fps=0, max_batch=16)
    many = Demand(20, 20, 0, cameras=20, settled_fps=20, late_fps=0, max_batch=16)
    service = ServiceTime(fixed_s=0.045, frame_s=0.002, busy=0.5)
    assert decide(one, service) == 2
    assert decide(many, service) == 1


def decide(demand: Demand | None, service: ServiceTime | None, **more: float) -> int:
    """Let it see the same for two seconds."""
    scaler = Scaler(NUMBERS)
    replicas = int(more.pop("target", 1))
    for second in range(3):
        situation = Situation(
            now=1000.0 + second, running=replicas, target=replicas, fewest=int(more.get("fewest", 1)), most=9,
            ongoing=more.get("ongoing", 0.0), demand=demand, service=service,
        )  # fmt: skip
        replicas = scaler.decide(situation).replicas
    return replicas


def test_what_is_not_known_changes_nothing_at_first():
    assert decide(None, None, target=3, ongoing=9) == 3
    assert decide(None, ServiceTime(0, 0.1, 0.5), target=3) == 3


def test_without_numbers_the_queue_decides_after_a_while_but_never_down():
    scaler = Scaler(NUMBERS)
    target = 2
    seen = []
    for second in range(100):
        ongoing = 6.0 if second < 60 else 0.0
        target = scaler.decide(Situation(1000.0 + second, target, target, 1, 9, ongoing, None, None)).replicas
        seen.append(target)
    assert seen[:10] == [2] * 10
    assert seen[12] == 5  # 6 calls / 1.2
    assert set(seen[12:]) == {5}


def test_a_controller_that_starts_anew_lets_no_replica_go_before_it_has_watched_for_the_whole_delay():
    scaler = Scaler(NUMBERS)
    demand, service = Demand(5, 5, 0, 1, 5, 0, 16), ServiceTime(0, 0.05, 0.1)
    seen = []
    for second in range(100):
        known = second >= 20  # its replicas' numbers come late
        seen.append(
            scaler.decide(
                Situation(
                    second, 4, seen[-1] if seen else 4, 1, 9, 0.1, demand if known else None, service if known else None
                )
            ).replicas
        )
    assert set(seen[:80]) == {4}
    assert seen[81] == 1


def test_numbers_that_fail_now_and_then_let_no_replica_go():
    scaler = Scaler(NUMBERS)
    demand, service = Demand(5, 5, 0, 1, 5, 0, 16), ServiceTime(0, 0.05, 0.1)
    for second in range(300):
        known = demand if second % 30 else None
        assert scaler.decide(Situation(second, 4, 4, 1, 9, 0.1, known, service)).replicas == 4


def test_late_frames_call_for_more_only_where_replicas_are_at_work():
    """Frames that wait for something else are not helped by another replica."""
    demand = Demand(10, 10, 0, 8, settled_fps=10, late_fps=5, max_batch=16)
    assert learned(demand, ServiceTime(0, 0.02, busy=0.9)) == 2
    assert learned(demand, ServiceTime(0, 0.02, busy=0.2)) == 1


def learned(demand: Demand, service: ServiceTime) -> int:
    scaler = Scaler(NUMBERS)
    replicas = 1
    for tick in range(8):
        replicas = scaler.decide(Situation(tick, 1, 1, 1, 9, 1.0, demand, service)).replicas
    return replicas


def test_late_frames_while_replicas_are_starting_say_nothing():
    scaler = Scaler(NUMBERS)
    demand, service = Demand(10, 10, 0, 8, 10, 9, 16), ServiceTime(0, 0.08, 1.0)
    for second in range(200):
        assert scaler.decide(Situation(second, 1, 2, 1, 9, 2.0, demand, service)).replicas == 2


def test_the_bounds_are_kept():
    flood, trickle = Demand(1000, 1000, 0, 99, 1000, 900, 16), Demand(0.1, 0.1, 0, 1, 0.1, 0, 16)
    assert decide(flood, ServiceTime(0, 0.1, 1.0)) == 9
    assert decide(trickle, ServiceTime(0, 0.1, 0.0), target=1, fewest=3) == 3


def test_from_none_the_first_frame_offered_starts_one():
    demand = Demand(1, 1, 0, 1, 0, 0, 16)
    assert Scaler(NUMBERS).decide(Situation(0, 0, 0, 0, 9, 0, demand, None)).replicas == 1


def test_nothing_offered_for_long_needs_the_fewest():
    quiet = Demand(0, 0, 0, 0, 0, 0, 16)
    scaler = Scaler(NUMBERS)
    scaler.decide(Situation(0, 2, 2, 0, 9, 0, quiet, ServiceTime(0, 0.1, 0)))
    assert scaler.decide(Situation(61, 2, 2, 0, 9, 0, quiet, None)).replicas == 0


def test_a_decision_has_its_reason():
    scaler = Scaler(NUMBERS)
    demand = Demand(40, 40, 0, 8, 40, 4, 16)
    reason = scaler.decide(Situation(0, 1, 1, 1, 9, 0, demand, ServiceTime(0, 0.075, 1))).reason
    assert reason == "40.0 frames/s offered by 8 cameras, 13.3 a replica, 10% late"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"utilisation_down": 0.9}, "utilisation_down 0.9 must be below utilisation_up 0.75"),
        ({"utilisation_up": 1.5}, "scaling.utilisation_up: "),
        ({"upscale_delay_s": -1}, "scaling.upscale_delay_s: "),
        ({"settle_s": math.nan}, "scaling.settle_s: "),
        ({"batch_time": 50}, "scaling.batch_time: "),
        ({"late_share": "much"}, "scaling.late_share: "),
    ],
)
def test_a_wrong_number_is_one_line_that_names_it(change: dict[str, object], part: str):
    with pytest.raises(SettingsError) as refused:
        ScalingNumbers.parse({**NUMBERS.model_dump(), **change})
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_number_is_named():
    numbers = NUMBERS.model_dump()
    del numbers["settle_s"]
    with pytest.raises(SettingsError, match=r"scaling\.settle_s"):
        ScalingNumbers.parse(numbers)
