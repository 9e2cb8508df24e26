"""Association: overlap grows with uncertainty, and the assignment is the best of all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis.tracking.association import GROWTH, OTHER_CLASS, assign, associate, overlaps

CAR = [100.0, 100, 80, 40]
SURE = np.zeros((1, 2))


def test_the_same_box_overlaps_wholly_and_one_beside_it_not_at_all():
    assert overlaps(np.array([CAR]), SURE, np.array([CAR, [200.0, 100, 80, 40]])).tolist() == [[1, 0]]


def test_half_a_box_is_a_third_of_the_union():
    assert overlaps(np.array([CAR]), SURE, np.array([[140.0, 100, 80, 40]])) == pytest.approx(1 / 3)


def test_a_box_within_another_counts_its_own_area():
    small = np.array([[100.0, 100, 20, 40]])
    assert overlaps(np.array([CAR]), SURE, small) == pytest.approx(20 * 40 / (80 * 40))


def test_uncertainty_reaches_farther():
    apart = np.array([[200.0, 100, 80, 40]])
    unsure = np.array([[100.0 / GROWTH, 0]])
    assert overlaps(np.array([CAR]), unsure, apart)[0, 0] == pytest.approx(180 / 380)


def test_another_height_is_less_alike():
    assert overlaps(np.array([CAR]), SURE, np.array([[100.0, 100, 80, 20]])) == pytest.approx(0.5 * 0.25)


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=4), st.floats(0.05, 0.6))
def test_no_other_assignment_is_better(rows: list[list[float]], least: float):
    overlap = np.array(rows)
    chosen = assign(overlap, least)
    assert (overlap[chosen] >= least - 1e-9).all()
    gain = (overlap[chosen] - least).sum()
    padded = np.maximum(np.pad(overlap - least, ((0, 0), (0, len(rows)))), 0)
    best = max(
        padded[range(len(rows)), order].sum() for order in itertools.permutations(range(padded.shape[1]), len(rows))
    )
    assert gain == pytest.approx(best, abs=1e-6)


def test_nothing_is_assigned_where_there_is_nothing():
    assert [len(part) for part in assign(np.zeros((0, 3)), 0.2)] == [0, 0]
    found = associate(
        np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0, int), np.array([CAR]), np.array([2]), np.array([True])
    )
    assert found.tolist() == [-1]


def test_a_strong_box_is_assigned_before_a_weak_one_that_fits_better():
    seen = np.array([CAR, [110.0, 100, 80, 40]])
    found = associate(np.array([CAR]), SURE, np.array([2]), seen, np.array([2, 2]), np.array([False, True]))
    assert found.tolist() == [-1, 0]


def test_a_weak_box_is_assigned_to_a_track_that_is_left():
    places = np.array([CAR, [400.0, 100, 80, 40]])
    found = associate(
        places, np.zeros((2, 2)), np.array([2, 2]), places[::-1], np.array([2, 2]), np.array([True, False])
    )
    assert found.tolist() == [1, 0]


def test_another_class_counts_less():
    seen = np.array([CAR, [112.0, 100, 80, 40]])
    assert overlaps(np.array([CAR]), SURE, seen)[0, 1] > OTHER_CLASS
    found = associate(np.array([CAR]), SURE, np.array([2]), seen, np.array([0, 2]), np.array([True, True]))
    assert found.tolist() == [-1, 0]
