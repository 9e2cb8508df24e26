from __future__ import annotations

import pytest

from app.cameras.sources.pacing import Timeline
from app.core.backoff import Backoff


def placed(stamps: list[float | None], step_s: float = 0.04) -> list[float]:
    timeline = Timeline()
    return [timeline.place(stamp, step_s) for stamp in stamps]


def test_a_timeline_begins_at_zero_and_keeps_the_gaps():
    assert placed([7.0, 7.04, 7.5]) == pytest.approx([0.0, 0.04, 0.5])


def test_missing_timestamps_count_as_one_step():
    assert placed([None, None, None]) == pytest.approx([0.0, 0.04, 0.08])
    assert placed([1.0, None, 1.08]) == pytest.approx([0.0, 0.04, 0.08])


@pytest.mark.parametrize("elsewhere", [0.0, 9e4])
def test_timestamps_that_start_over_or_jump_count_as_one_step(elsewhere: float):
    assert placed([100.0, 100.04, elsewhere, elsewhere + 0.1]) == pytest.approx([0.0, 0.04, 0.08, 0.18])


def test_timestamps_in_disorder_never_go_back():
    assert placed([0.04, 0.16, 0.12, 0.2]) == pytest.approx([0.0, 0.12, 0.12, 0.16])


def test_a_loop_goes_on_one_step_after_the_end():
    timeline = Timeline()
    timeline.place(0.0, 0.04)
    timeline.place(0.04, 0.04)
    timeline.restart()
    assert timeline.place(0.0, 0.04) == pytest.approx(0.08)


def test_a_backoff_doubles_up_to_its_cap_with_jitter_below_it():
    backoff = Backoff(0.5, 10.0)
    waits = [backoff.next() for _ in range(2000)]
    assert all(0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(waits[:5]))
    assert all(5.0 <= wait <= 10.0 for wait in waits[5:])
    assert len(set(waits)) > 1000
    backoff.reset()
    assert backoff.next() <= 0.5
