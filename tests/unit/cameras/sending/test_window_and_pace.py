"""How many frames a camera has in flight, and how often it sends."""

from __future__ import annotations

import pytest

from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sending.in_flight import InFlightWindow
from app.cameras.sending.pace import Pace
from app.rpc.sightline.inference.v1 import inference_pb2 as pb

BUSY = Outcome.accepted(pb.DetectResponse(latency=pb.StageLatency(queue_ms=120)))
IDLE = Outcome.accepted(pb.DetectResponse(latency=pb.StageLatency(queue_ms=3)))


def window_of(fps: float, *round_trips_s: float, queued_s: float = 0.0) -> int:
    window = InFlightWindow(fps)
    for round_trip_s in round_trips_s:
        window.record(round_trip_s, queued_s)
    return window.size


@pytest.mark.parametrize(
    ("fps", "round_trip_s", "frames"),
    [(5, 0.05, 1), (5, 0.15, 1), (15, 0.04, 1), (15, 0.06, 2), (30, 0.02, 1), (30, 0.06, 3), (60, 0.06, 4), (60, 9, 4)],
)
def test_as_many_frames_are_in_flight_as_the_rate_needs(fps: float, round_trip_s: float, frames: int):
    assert window_of(fps, *[round_trip_s] * 5) == frames


def test_a_camera_that_knows_nothing_yet_sends_one_frame():
    assert window_of(60) == 1


def test_time_spent_in_the_queue_makes_no_window_wider():
    assert window_of(30, *[0.19] * 5, queued_s=0.17) == 1


def test_one_slow_answer_makes_no_window_wider():
    assert window_of(30, 0.02, 0.02, 1.0, 0.02, 0.02) == 1


def test_a_window_of_none_is_refused():
    with pytest.raises(ValueError, match="room for 1 frame"):
        InFlightWindow(5, limit=0)


def test_a_camera_at_its_full_rate_never_waits():
    pace = Pace(5, 0.2)
    pace.send(10.0)
    pace.record(IDLE, 10.02, round_trip_s=0.05)
    assert pace.wait_s(10.02) == 0.0
    assert not pace.slowed


@pytest.mark.parametrize(
    "outcome", [BUSY, Outcome.dropped(DropReason.DEADLINE), Outcome.dropped(DropReason.OVERLOADED)]
)
def test_a_long_queue_a_late_frame_and_a_full_service_slow_it(outcome: Outcome):
    pace = Pace(10, 0.2)
    pace.send(0.0)
    pace.record(outcome, 0.1, round_trip_s=0.05)
    assert pace.rate == pytest.approx(8.5)
    assert pace.wait_s(0.1) == pytest.approx(1 / 8.5 - 0.05)  # after the answer, less what an answer takes


def waited(queue_ms: float, inference_ms: float) -> Outcome:
    latency = pb.StageLatency(queue_ms=queue_ms, inference_ms=inference_ms)
    return Outcome.accepted(pb.DetectResponse(latency=latency))


LONG_DELAY_S = 0.1
"""So long that it leaves frames nothing to wait for but what they always may."""


def test_the_longer_the_queue_the_more_a_camera_gives_up():
    rates = []
    for queue_ms in (30, 33, 40, 50, 400):
        pace = Pace(10, 0.2)
        pace.record(waited(queue_ms, inference_ms=5), 0.1, LONG_DELAY_S + queue_ms / 1000)
        rates.append(pace.rate)
    assert rates == pytest.approx([10, 9.8, 9.333, 8.667, 8.5], abs=1e-3)


@pytest.mark.parametrize(("inference_ms", "allowed_ms"), [(5, 30), (20, 30), (30, 45), (40, 60), (300, 60)])
def test_the_slower_the_model_the_longer_others_may_wait_for_it_within_bounds(inference_ms: float, allowed_ms: float):
    for queue_ms, slowed in ((allowed_ms - 0.1, False), (allowed_ms + 0.1, True)):
        pace = Pace(10, 0.2)
        pace.record(waited(queue_ms, inference_ms), 0.1, LONG_DELAY_S + queue_ms / 1000)
        assert pace.slowed == slowed


@pytest.mark.parametrize(("delay_ms", "allowed_ms"), [(10, 60), (70, 50), (85, 35), (100, 30), (300, 30)])
def test_where_all_else_is_done_early_frames_may_wait_longer_within_bounds(delay_ms: float, allowed_ms: float):
    for queue_ms, slowed in ((allowed_ms - 0.1, False), (allowed_ms + 0.1, True)):
        pace = Pace(10, 0.2)
        pace.record(waited(queue_ms, inference_ms=5), 0.1, (delay_ms + queue_ms) / 1000)
        assert pace.slowed == slowed


def test_one_long_delay_in_many_does_not_shorten_what_is_allowed():
    pace = Pace(10, 0.2)
    for number in range(64):
        pace.record(waited(5, inference_ms=5), number / 10, 0.1 if number == 30 else 0.015)
    pace.record(waited(55, inference_ms=5), 6.5, 0.065)
    assert not pace.slowed


def test_a_slowed_camera_rests_after_a_late_answer():
    pace = Pace(10, 0.2)
    for number in range(9):
        pace.record(BUSY, number * 0.3, round_trip_s=0.1)
    pace.send(3.0)
    pace.record(IDLE, 3.9, round_trip_s=0.9)
    assert pace.wait_s(3.9) == pytest.approx(1 / pace.rate - 0.1)


@pytest.mark.parametrize("reason", [DropReason.UNAVAILABLE, DropReason.REJECTED, DropReason.OUT_OF_ORDER])
def test_what_is_no_sign_of_load_does_not_slow_it(reason: DropReason):
    pace = Pace(10, 0.2)
    pace.record(Outcome.dropped(reason), 0.1, round_trip_s=0.05)
    assert not pace.slowed


def test_it_asks_on_however_busy_the_service_is():
    pace = Pace(10, 0.2)
    for number in range(100):
        pace.record(BUSY, float(number), round_trip_s=0.05)
    assert pace.rate == pytest.approx(1.0)


def test_it_comes_back_to_its_full_rate_and_no_further():
    pace = Pace(5, 0.2)
    for number in range(20):
        pace.record(BUSY, number / 5, round_trip_s=0.05)
    slow = pace.rate
    for number in range(20, 120):
        pace.record(IDLE, number / 5, round_trip_s=0.05)
        assert slow <= pace.rate <= 5
    assert pace.rate == 5


def test_a_long_silence_causes_no_jump():
    pace = Pace(10, 0.2)
    for _ in range(20):
        pace.record(BUSY, 0.0, round_trip_s=0.05)
    before = pace.rate
    pace.record(IDLE, 1000.0, round_trip_s=0.05)
    assert pace.rate == pytest.approx(before + 1.5)  # two seconds' gain, as calm as two seconds make it


@pytest.mark.parametrize(("fps", "times"), [(10, 1), (30, 3)])
def test_the_longer_there_was_no_sign_of_load_the_faster_a_camera_comes_back(fps: float, times: float):
    pace, gains = Pace(fps, 0.2), []
    for _ in range(20):
        pace.record(BUSY, 0.0, round_trip_s=0.05)
    for second in range(1, 5):
        before = pace.rate
        pace.record(IDLE, float(second), round_trip_s=0.05)
        gains.append(pace.rate - before)
    pace.record(BUSY, 4.5, round_trip_s=0.05)
    before = pace.rate
    pace.record(IDLE, 5.5, round_trip_s=0.05)
    assert gains == pytest.approx([0.625 * times, 0.75 * times, 0.875 * times, 1.0 * times])
    assert pace.rate - before == pytest.approx(0.625 * times)


def shares_after(rates: list[float], capacity: float, seconds: float) -> list[float]:
    """Simulate cameras at a service whose queue is long whenever more is sent than it can take."""
    paces = [Pace(rate, 0.2) for rate in rates]
    due, now, sent = [0.0] * len(paces), 0.0, [0] * len(paces)
    while now < seconds:
        now += 0.01
        offered = sum(pace.rate for pace in paces)
        for number, pace in enumerate(paces):
            if now >= due[number]:
                pace.send(now)
                pace.record(BUSY if offered > capacity else IDLE, now, round_trip_s=0.05)
                due[number] = now + 1 / pace.rate
                sent[number] += now > seconds / 2
    return [count / (seconds / 2) for count in sent]


def test_cameras_come_to_equal_shares_of_what_there_is_and_use_it():
    shares = shares_after([10.0] * 8, capacity=40.0, seconds=120)
    assert sum(shares) == pytest.approx(40, rel=0.1)
    assert max(shares) < 1.2 * min(shares)


def test_answers_that_take_long_slow_a_camera_where_others_came_in_half_the_time():
    pace = Pace(10, 0.2)
    pace.record(IDLE, 0.1, round_trip_s=0.05)
    pace.record(IDLE, 0.2, round_trip_s=0.16)
    pace.record(IDLE, 0.3, round_trip_s=0.16)
    assert pace.slowed


@pytest.mark.parametrize("late", [IDLE, Outcome.dropped(DropReason.DEADLINE)])
def test_one_late_answer_among_others_slows_no_camera(late: Outcome):
    pace = Pace(10, 0.2)
    for number in range(30):
        is_late = number % 3 == 2
        pace.record(late if is_late else IDLE, number / 10, round_trip_s=0.16 if is_late else 0.05)
        assert not pace.slowed


def test_a_delay_that_is_always_long_slows_no_camera():
    pace = Pace(10, 0.2)
    for number in range(200):
        pace.record(IDLE, number / 10, round_trip_s=0.16 + 0.02 * (number % 2))
    assert not pace.slowed


def told(max_fps: float, queue_ms: float = 3) -> Outcome:
    return Outcome.accepted(pb.DetectResponse(latency=pb.StageLatency(queue_ms=queue_ms), max_fps=max_fps))


def test_a_camera_sends_as_often_as_the_service_says_whatever_its_own_frames_wait():
    pace = Pace(10, 0.2)
    pace.record(told(4, queue_ms=120), 0.1, round_trip_s=0.16)
    assert (pace.rate, pace.slowed) == (4, True)
    pace.record(told(7), 0.2, round_trip_s=0.05)
    assert pace.rate == 7
    pace.record(told(1_000, queue_ms=120), 0.3, round_trip_s=0.16)
    assert (pace.rate, pace.slowed) == (10, False)


def test_a_service_that_says_how_often_may_ask_for_less_than_a_camera_would_by_itself():
    pace = Pace(30, 0.2)
    pace.record(told(0.5), 0.1, round_trip_s=0.05)
    pace.send(0.2)
    assert pace.wait_s(0.2) == pytest.approx(2.0)


@pytest.mark.parametrize("max_fps", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none_counts_as_if_the_service_said_nothing(max_fps: float):
    assert told(max_fps).max_fps is None
    pace = Pace(10, 0.2)
    pace.record(told(max_fps), 0.1, round_trip_s=0.05)
    assert not pace.slowed


def test_frames_that_the_service_refuses_slow_a_camera_until_it_says_how_often_again():
    pace = Pace(10, 0.2)
    pace.record(told(8), 0.1, round_trip_s=0.05)
    for number in range(5):
        pace.record(Outcome.dropped(DropReason.DEADLINE), 0.2 + number / 10, round_trip_s=0.05)
    assert pace.rate < 5
    pace.record(told(8), 0.8, round_trip_s=0.05)
    assert pace.rate == 8
