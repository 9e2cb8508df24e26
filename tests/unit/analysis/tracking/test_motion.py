"""Motion: predictions depend on the time that passed, not on the number of steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis.tracking.motion import Motion, Place, begin_motion, predict, step_of, update

PLACE: Place = (100.0, 200.0, 40.0, 80.0)
OTHER: Place = (300.0, 50.0, 120.0, 60.0)


def after(motion: Motion, seconds: float) -> Motion:
    return predict(motion, step_of(seconds))


def moved(place: Place = PLACE) -> Motion:
    x, y, width, height = place
    return update(after(begin_motion(place), 0.2), (x + 20.0, y - 5, width, height))


def place_of(motion: Motion) -> Place:
    x, y, width, height = (one[0] for one in motion)
    return x, y, width, height


@pytest.mark.parametrize("place", [PLACE, OTHER])
@given(st.floats(0.01, 2), st.floats(0.01, 2))
def test_two_steps_are_one_of_their_length(place: Place, first: float, second: float):
    once, twice = after(moved(place), first + second), after(after(moved(place), first), second)
    for one, other in zip(once, twice, strict=True):
        assert np.allclose(one[:2], other[:2])
        assert np.allclose(one[2:], other[2:], rtol=1e-6, atol=1e-9)


def test_no_time_changes_nothing():
    assert np.allclose(after(moved(), 0), moved())


@given(st.floats(0.01, 3), st.floats(0.01, 3))
def test_the_longer_the_less_is_known(one: float, other: float):
    shorter, longer = sorted((one, other))
    for less, more in zip(after(moved(), shorter), after(moved(), longer), strict=True):
        assert less[2] <= more[2]


@given(st.floats(0.01, 3))
def test_a_match_teaches(gap: float):
    before = after(moved(), gap)
    matched = update(before, place_of(before))
    assert place_of(matched) == place_of(before)
    for (_, _, variance, both, drift), (_, _, unsure, _, unknown) in zip(matched, before, strict=True):
        assert variance < unsure
        assert drift < unknown
        assert variance * drift >= both**2


@pytest.mark.parametrize("fps", [2, 5, 25])
def test_a_velocity_is_learned_in_pixels_a_second_whatever_the_frame_rate(fps: int):
    motion = begin_motion(PLACE)
    for number in range(1, 3 * fps):
        seconds = number / fps
        motion = update(after(motion, 1 / fps), (100.0 + 60 * seconds, 200.0 + 30 * seconds, 40.0, 80.0))
    assert motion[0][1] == pytest.approx(60, abs=4)
    assert motion[1][1] == pytest.approx(30, abs=2)
