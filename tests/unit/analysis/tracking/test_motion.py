"""Motion: predictions depend on the time that passed, not on the number of steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis.tracking.motion import Motion

PLACES = np.array([[100.0, 200, 40, 80], [300, 50, 120, 60]])


def seconds(value: float) -> np.ndarray:
    return np.full(2, value)


def moved() -> Motion:
    later = PLACES + np.array([20.0, -5, 0, 0])
    return Motion.begin(PLACES).predict(seconds(0.2)).update(later)


@given(st.floats(0.01, 2), st.floats(0.01, 2))
def test_two_steps_are_one_of_their_length(first: float, second: float):
    once, twice = moved().predict(seconds(first + second)), moved().predict(seconds(first)).predict(seconds(second))
    assert np.allclose(once.place, twice.place)
    assert np.allclose(once.velocity, twice.velocity)
    assert np.allclose(once.variance, twice.variance, rtol=1e-6, atol=1e-9)


def test_no_time_changes_nothing():
    now, before = moved().predict(seconds(0)), moved()
    assert np.allclose(now.place, before.place)
    assert np.allclose(now.variance, before.variance)


@given(st.floats(0.01, 3), st.floats(0.01, 3))
def test_the_longer_the_less_is_known(one: float, other: float):
    shorter, longer = sorted((one, other))
    assert (moved().predict(seconds(shorter)).variance[0] <= moved().predict(seconds(longer)).variance[0]).all()


@given(st.floats(0.01, 3))
def test_a_match_teaches(gap: float):
    before = moved().predict(seconds(gap))
    after = before.update(before.place)
    assert np.array_equal(after.place, before.place)
    assert (after.variance[0] < before.variance[0]).all()
    assert (after.variance[2] < before.variance[2]).all()
    assert (after.variance[0] * after.variance[2] >= after.variance[1] ** 2).all()


@pytest.mark.parametrize("fps", [2, 5, 25])
def test_a_velocity_is_learned_in_pixels_a_second_whatever_the_frame_rate(fps: int):
    motion = Motion.begin(PLACES)
    for number in range(1, 3 * fps):
        motion = motion.predict(seconds(1 / fps)).update(PLACES + np.array([60.0, 30, 0, 0]) * number / fps)
    assert motion.velocity[:, 0] == pytest.approx([60, 60], abs=4)
    assert motion.velocity[:, 1] == pytest.approx([30, 30], abs=2)


def test_tracks_are_independent_of_each_other():
    both, alone = moved(), moved().of(np.array([1]))
    assert np.array_equal(both.predict(seconds(0.3)).place[1:], alone.predict(np.array([0.3])).place)
