"""LoiteringRule."""

from __future__ import annotations

import pytest

from tests.unit.analysis.rules.scenes import LOWER_HALF, Place, film, judged, reported, stands

RULE = {"type": "loitering", "zone": LOWER_HALF, "dwell": 20}
TOTAL = {**RULE, "mode": "total", "window": 60}


def comes_and_goes(*stays: tuple[float, float]) -> Place:
    """In the zone from one time to another, several times."""
    return lambda now: (0.5, 0.8 if any(since <= now < until for since, until in stays) else 0.2)


def test_it_starts_when_the_object_came_in_and_is_reported_after_the_dwell():
    found = judged(RULE, film({7: comes_and_goes((2, 30))}, 35))
    assert reported(found) == [("new", (7,), 2.0), ("end", (7,), 30.0)]
    assert [one.value for one in found] == [20.0, 28.0]


def test_nineteen_seconds_are_not_twenty():
    assert judged(RULE, film({7: comes_and_goes((2, 21))}, 40)) == []


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_the_dwell_is_the_same_at_any_frame_rate(fps: float):
    assert judged(RULE, film({7: comes_and_goes((2, 21.5))}, 30, fps=fps)) == []
    assert len(judged(RULE, film({7: comes_and_goes((2, 22.6))}, 30, fps=fps))) == 2


def test_a_break_no_longer_than_flicker_does_not_start_the_time_again():
    assert len(judged(RULE, film({7: comes_and_goes((0, 10), (10.4, 21))}, 21))) == 1
    assert judged(RULE, film({7: comes_and_goes((0, 10), (10.8, 21))}, 21)) == []


def test_an_object_unseen_for_no_longer_than_flicker_goes_on():
    scene = film({7: lambda now: None if 10 <= now < 10.4 else (0.5, 0.8)}, 21)
    assert len(judged(RULE, scene)) == 1


def test_in_total_the_stays_are_added_up():
    found = judged(TOTAL, film({7: comes_and_goes((0, 10), (20, 28), (40, 45))}, 60))
    assert reported(found) == [("new", (7,), 0.0), ("end", (7,), 45.0)]
    assert found[0].value == 20.0


def test_in_total_what_is_older_than_the_window_does_not_count():
    scene = film({7: comes_and_goes((0, 10), (75, 86))}, 90)
    assert judged(TOTAL, scene) == []


def test_in_total_the_sum_begins_again_after_an_incident():
    found = judged(TOTAL, film({7: comes_and_goes((0, 25), (30, 45), (50, 60))}, 70))
    assert reported(found) == [("new", (7,), 0.0), ("end", (7,), 25.0), ("new", (7,), 30.0), ("end", (7,), 60.0)]
    assert len({one.anomaly_id for one in found}) == 2


def test_many_short_stays_are_joined_and_still_add_up():
    stays = [(2.0 * n, 2.0 * n + 1.0) for n in range(100)]
    found = judged({**TOTAL, "window": 200, "dwell": 50}, film({7: comes_and_goes(*stays)}, 200))
    assert [one.state for one in found][:1] == ["new"]


def test_two_objects_do_not_add_up():
    scene = film({7: stands(0.3, 0.8, until=12), 8: stands(0.6, 0.8, since=12, until=24)}, 30)
    assert judged(TOTAL, scene) == []


def test_frames_that_were_dropped_are_no_absence():
    """The object is missed in two frames a second apart, with no frame between them: it may have been there."""
    missed = film({7: lambda now: None if now in (10.0, 11.0) else (0.5, 0.8)}, 22, cut=lambda now: 10 < now < 11)
    assert reported(judged(RULE, missed)) == [("new", (7,), 0.0)]
    seen_without = film({7: lambda now: None if 10 <= now <= 11 else (0.5, 0.8)}, 22)
    assert judged(RULE, seen_without) == []
