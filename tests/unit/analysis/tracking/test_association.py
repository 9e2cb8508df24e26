"""Association: overlap grows with uncertainty, and the assignment is the best of all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis.tracking.association import GROWTH, OTHER_CLASS, PlacedBox, Unsure, assign, associate, overlaps

CAR = PlacedBox(100.0, 100.0, 80.0, 40.0, 2)
SURE = (0.0, 0.0)
PLACED = st.builds(
    PlacedBox, st.floats(0, 600), st.floats(0, 400), st.floats(1, 300), st.floats(1, 200), st.integers(0, 1)
)
UNSURE = st.tuples(st.floats(0, 100), st.floats(0, 100))


def overlap(track: PlacedBox, box: PlacedBox, unsure: Unsure = SURE) -> float:
    found = overlaps([track], [unsure], [box])
    return found[0][2] if found else 0.0


def test_the_same_box_overlaps_wholly_and_one_beside_it_not_at_all():
    assert overlaps([CAR], [SURE], [CAR, CAR._replace(x=200.0)]) == [(0, 0, 1)]


def test_half_a_box_is_a_third_of_the_union():
    assert overlap(CAR, CAR._replace(x=140.0)) == pytest.approx(1 / 3)


def test_a_box_within_another_counts_its_own_area():
    assert overlap(CAR, CAR._replace(width=20.0)) == pytest.approx(20 * 40 / (80 * 40))


def test_uncertainty_reaches_farther():
    assert overlap(CAR, CAR._replace(x=200.0), (100.0 / GROWTH, 0.0)) == pytest.approx(180 / 380)


def test_another_height_is_less_alike():
    assert overlap(CAR, CAR._replace(height=20.0)) == pytest.approx(0.5 * 0.25)


@given(st.lists(st.tuples(PLACED, UNSURE), max_size=6), st.lists(PLACED, max_size=6))
def test_every_box_that_overlaps_a_track_is_found(tracks: list[tuple[PlacedBox, Unsure]], boxes: list[PlacedBox]):
    boxes.sort(key=lambda box: box.x - box.width / 2)
    places, unsure = [place for place, _ in tracks], [one for _, one in tracks]
    alone = [
        (row, column, overlap(place, box, one))
        for row, (place, one) in enumerate(tracks)
        for column, box in enumerate(boxes)
    ]
    assert overlaps(places, unsure, boxes) == [one for one in alone if one[2] > 0]


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=4), st.floats(0.05, 0.6))
def test_no_other_assignment_is_better(rows: list[list[float]], least: float):
    overlap = np.array(rows)
    found = [(row, column, one) for (row, column), one in np.ndenumerate(overlap) if one > 0]
    assigned = assign(found, range(len(rows)), range(3), least)
    chosen = list(assigned.values()), list(assigned)
    assert (overlap[chosen] >= least - 1e-9).all()
    gain = (overlap[chosen] - least).sum()
    padded = np.maximum(np.pad(overlap - least, ((0, 0), (0, len(rows)))), 0)
    best = max(
        padded[range(len(rows)), order].sum() for order in itertools.permutations(range(padded.shape[1]), len(rows))
    )
    assert gain == pytest.approx(best, abs=1e-6)


def test_nothing_is_assigned_where_there_is_nothing():
    assert assign([], [], range(3), 0.2) == {}
    assert associate([], [], [CAR], [True]) == {}
    assert associate([CAR], [SURE], [], []) == {}


def test_a_strong_box_is_assigned_before_a_weak_one_that_fits_better():
    assert associate([CAR], [SURE], [CAR, CAR._replace(x=110.0)], [False, True]) == {1: 0}


def test_a_weak_box_is_assigned_to_a_track_that_is_left():
    other = CAR._replace(x=400.0)
    assert associate([other, CAR], [SURE, SURE], [CAR, other], [True, False]) == {0: 1, 1: 0}


def test_another_class_counts_less():
    near = CAR._replace(x=112.0)
    assert overlap(CAR, near) > OTHER_CLASS
    assert associate([CAR], [SURE], [CAR._replace(class_id=0), near], [True, True]) == {1: 0}
