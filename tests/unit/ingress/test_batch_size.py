"""How many frames a batch gets."""

from __future__ import annotations

import pytest

from app.ingress.batch_size import BatchSizer


def test_before_anything_is_known_a_batch_may_be_full():
    assert BatchSizer(16, 0.05).size == 16


@pytest.mark.parametrize(("each_s", "frames"), [(0.001, 16), (0.005, 10), (0.02, 2), (0.5, 1)])
def test_a_batch_fits_its_time_and_has_one_frame_at_least(each_s: float, frames: int):
    sizer = BatchSizer(16, 0.0501)
    for _ in range(50):
        sizer.record(4, 4 * each_s)
    assert sizer.size == frames


def test_a_detector_that_gets_faster_gets_more():
    sizer = BatchSizer(16, 0.0501)
    sizer.record(1, 0.05)
    assert sizer.size == 1
    for _ in range(40):
        sizer.record(1, 0.005)
    assert sizer.size == 10


def test_a_detector_that_costs_nothing_gets_full_batches():
    sizer = BatchSizer(16, 0.05)
    sizer.record(4, 0.0)
    assert sizer.size == 16


@pytest.mark.parametrize(("most", "target_s"), [(0, 0.05), (1, 0.0)])
def test_impossible_limits_are_refused(most: int, target_s: float):
    with pytest.raises(ValueError, match="largest starts at 1"):
        BatchSizer(most, target_s)
