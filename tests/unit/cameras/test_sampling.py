from __future__ import annotations

import math
import random

import pytest

from app.cameras.sampling import EvenGrid

RATES = [5.0, 10.0, 15.0, 25.0, 29.97, 30.0, 60.0]


def sampled(times: list[float], fps: float) -> list[int]:
    grid = EvenGrid(fps)
    return [n for n, time_s in enumerate(times) if grid.takes(time_s)]


def first_at_or_after(times: list[float], fps: float) -> list[int]:
    """The contract's sentence, word by word."""
    picked = []
    for point in range(math.floor((times[-1] - times[0]) * fps + 1e-6) + 1):
        found = next(n for n, time_s in enumerate(times) if time_s - times[0] >= point / fps - 1e-6)
        picked.append(found)
    return sorted(set(picked))


@pytest.mark.parametrize("source_fps", RATES)
@pytest.mark.parametrize("fps", [1.0, 2.5, 5.0, 7.0, 10.0, 12.5, 25.0, 60.0])
def test_each_sample_is_the_first_frame_at_or_after_its_grid_point(source_fps: float, fps: float):
    times = [n / source_fps for n in range(600)]
    # A frame within the rounding of a container's timestamps of its point counts as on it.
    exact = first_at_or_after([t + 0.0 for t in times], fps)
    assert sampled(times, fps) == pytest.approx(exact, abs=1)
    assert len(sampled(times, fps)) == pytest.approx(len(exact), abs=1)


@pytest.mark.parametrize(("source_fps", "fps", "every"), [(25, 5, 5), (30, 10, 3), (60, 5, 12), (30, 5, 6), (10, 5, 2)])
def test_a_rate_that_divides_evenly_takes_exactly_every_nth_frame_for_hours(source_fps: int, fps: int, every: int):
    grid = EvenGrid(fps)
    picked = [n for n in range(200_000) if grid.takes(1e5 + n / source_fps)]
    assert picked == list(range(0, 200_000, every))


@pytest.mark.parametrize("source_fps", [5, 15, 25, 30, 60])
def test_timestamps_rounded_to_milliseconds_change_nothing(source_fps: int):
    times = [n / source_fps for n in range(2000)]
    assert sampled([round(t, 3) for t in times], 5) == sampled(times, 5)


def test_ntsc_at_10_fps_keeps_the_grid_without_drift():
    times = [n * 1001 / 30000 for n in range(30_000)]
    picked = sampled(times, 10)
    assert len(picked) == pytest.approx(times[-1] * 10, abs=2)
    assert all(-1e-6 <= times[n] - k / 10 + 0.001 < 1001 / 30000 + 1e-6 for k, n in enumerate(picked))


@pytest.mark.parametrize("source_fps", [1.0, 4.9, 5.0])
def test_a_source_slower_than_asked_is_sampled_whole(source_fps: float):
    assert sampled([n / source_fps for n in range(500)], 5) == list(range(500))


def test_a_variable_rate_is_sampled_by_time_not_by_count():
    rng = random.Random(3)
    times, now = [], 0.0
    for _ in range(2000):
        times.append(now)
        now += rng.choice([0.01, 0.02, 0.04, 0.3])
    assert sampled(times, 5) == pytest.approx(first_at_or_after(times, 5), abs=1)
    assert len(sampled(times, 5)) == len(first_at_or_after(times, 5))


def test_timestamps_that_start_over_start_the_grid_anew():
    times = [n / 25 for n in range(50)] + [n / 25 for n in range(50)]
    assert sampled(times, 5) == list(range(0, 100, 5))


def test_a_jump_ahead_starts_the_grid_anew():
    times = [n / 25 for n in range(50)] + [5000.013 + n / 25 for n in range(50)]
    assert sampled(times, 5) == list(range(0, 100, 5))


def test_timestamps_in_slight_disorder_do_not_raise_the_rate():
    times = [n / 25 + (0.05 if n % 3 == 0 else 0.0) for n in range(1000)]
    assert len(sampled(times, 5)) == pytest.approx(200, abs=2)


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(fps: float):
    with pytest.raises(ValueError, match="fps"):
        EvenGrid(fps)
