from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scaling import Demand, DemandMeter, join_demands
from app.scaling.demand import FORGET_S, WINDOW_S
from tests.support.manual_seconds import ManualSeconds


@pytest.fixture
def clock() -> ManualSeconds:
    return ManualSeconds()


@pytest.fixture
def meter(clock: ManualSeconds) -> DemandMeter:
    return DemandMeter(16, clock)


def send(
    meter: DemandMeter, clock: ManualSeconds, numbers: list[int], every_s: float, camera: str = "cam", epoch: int = 1
):
    for number in numbers:
        clock.now += every_s
        meter.offered(camera, epoch, number)


def test_frames_that_arrive_are_offered(meter: DemandMeter, clock: ManualSeconds):
    send(meter, clock, list(range(1, 61)), 0.1)
    assert meter.reading().offered_fps == pytest.approx(10, rel=0.1)


def test_frames_replaced_at_the_source_are_offered_as_well(meter: DemandMeter, clock: ManualSeconds):
    send(meter, clock, [1, 2], 0.2)
    send(meter, clock, list(range(5, 100, 3)), 0.6)  # two of three are replaced
    reading = meter.reading()
    assert reading.offered_fps == pytest.approx(5, rel=0.1)
    assert reading.cameras == 1


@given(st.lists(st.integers(1, 6), min_size=40, max_size=80), st.floats(1, 30))
def test_overload_does_not_hide_itself(steps: list[int], fps: float):
    """Whatever frames are replaced, the rate is the camera's: numbers and time go together."""
    clock = ManualSeconds()
    meter = DemandMeter(16, clock)
    meter.offered("cam", 1, 1)
    number = 1
    for step in steps:
        number += step
        clock.now += step / fps
        meter.offered("cam", 1, number)
    counted = meter.reading().offered_fps
    largest = 7 / WINDOW_S + 0.25 * fps  # a frame's gap, and a bucket, more or less in the window
    # Three windows long, or the windows are not full yet.
    if sum(steps) / fps > 2 * WINDOW_S:
        assert counted == pytest.approx(fps, abs=largest)


def test_numbers_that_are_times_are_not_taken_for_gaps(meter: DemandMeter, clock: ManualSeconds):
    """The contract asks for rising numbers, not for consecutive ones."""
    send(meter, clock, list(range(1_700_000_000_000, 1_700_000_000_000 + 20_000, 200)), 0.2)
    assert meter.reading().offered_fps == pytest.approx(5, rel=0.1)


def test_frames_without_numbers_count_one_each(meter: DemandMeter, clock: ManualSeconds):
    for _ in range(30):
        clock.now += 0.2
        meter.offered("cam", 0, 0)
    reading = meter.reading()
    assert reading.plain_fps == pytest.approx(5, rel=0.1)
    assert reading.numbered_fps == 0


def test_a_repeated_frame_and_an_overtaken_one_count_once(meter: DemandMeter, clock: ManualSeconds):
    send(meter, clock, [1, 2, 4, 3, 4], 0.1)
    assert meter.reading().numbered_fps * 0.5 == pytest.approx(4)


def test_a_new_life_of_a_camera_is_no_gap(meter: DemandMeter, clock: ManualSeconds):
    send(meter, clock, [1, 2, 3], 0.5)
    send(meter, clock, [900, 901, 902], 0.5, epoch=2)
    assert meter.reading().numbered_fps == pytest.approx(2, rel=0.2)


def test_a_camera_that_is_gone_is_forgotten_and_its_rate_with_it(meter: DemandMeter, clock: ManualSeconds):
    send(meter, clock, [1, 2, 3], 0.1)
    clock.now += FORGET_S + WINDOW_S
    reading = meter.reading()
    assert (reading.offered_fps, reading.cameras) == (0, 0)
    meter.offered("cam", 1, 500)
    assert meter.reading().numbered_fps * WINDOW_S == pytest.approx(1)


def test_late_are_frames_that_expired_or_waited_half_of_what_they_had(meter: DemandMeter, clock: ManualSeconds):
    clock.now += WINDOW_S
    meter.taken(0.01, 0.15)
    meter.taken(0.08, 0.15)
    meter.taken(0.08, 10.0)
    meter.expired()
    assert meter.reading().late_share == pytest.approx(0.5)


def test_frames_that_their_camera_did_not_send_are_late_as_well(meter: DemandMeter, clock: ManualSeconds):
    meter.offered("cam", 1, 1)
    for number in range(2, 60, 3):
        clock.now += 0.6
        meter.offered("cam", 1, number)
        meter.taken(0.01, 0.15)
    assert meter.reading().late_share == pytest.approx(2 / 3, abs=0.05)


def test_without_frames_none_is_late(meter: DemandMeter):
    assert meter.reading().late_share == 0


def test_the_numbers_survive_the_transport_through_serve(meter: DemandMeter, clock: ManualSeconds):
    send(meter, clock, [1, 2, 3], 0.5)
    meter.expired()
    reading = meter.reading()
    assert Demand.from_stats({**reading.as_stats(), "of_another": 1.0}) == reading


def test_numbers_of_which_one_is_missing_are_none(meter: DemandMeter):
    stats = meter.reading().as_stats()
    stats.popitem()
    assert Demand.from_stats(stats) is None
    assert Demand.from_stats({}) is None


def test_two_ingresses_that_share_the_cameras_do_not_double_them():
    """Each sees every other frame of each camera, with gaps where the other's frames are."""
    clock = ManualSeconds()
    one, other = DemandMeter(16, clock), DemandMeter(16, clock)
    pattern = [one, one, other, other, one, other]  # neighbours at times, so that the step of 1 shows
    for number in range(1, 61):
        clock.now += 0.1
        pattern[number % 6].offered("cam", 1, number)
    joined = join_demands([one.reading(), other.reading()])
    assert joined is not None
    assert joined.offered_fps == pytest.approx(10, rel=0.15)


def test_the_demand_of_no_ingress_is_unknown():
    assert join_demands([]) is None
