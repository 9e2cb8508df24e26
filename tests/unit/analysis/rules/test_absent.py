"""AbsentRule."""

from __future__ import annotations

from tests.unit.analysis.rules.scenes import LOWER_HALF, film, judged, reported, stands

RULE = {"type": "absent", "zone": LOWER_HALF, "classes": ["guard"]}


def test_it_starts_when_the_last_one_left():
    scene = film({1: stands(0.5, 0.8, until=10), 2: stands(0.5, 0.8, since=50)}, 60, label="guard")
    assert [(state, round(time)) for state, _, time in reported(judged(RULE, scene))] == [("new", 10), ("end", 50)]


def test_twenty_nine_seconds_are_not_thirty():
    scene = film({1: stands(0.5, 0.8, until=10), 2: stands(0.5, 0.8, since=39)}, 60, label="guard")
    assert judged(RULE, scene) == []


def test_one_outside_the_zone_or_of_another_class_is_absent():
    assert len(judged(RULE, film({1: stands(0.5, 0.3)}, 32, label="guard"))) == 1
    assert len(judged(RULE, film({1: stands(0.5, 0.8)}, 32, label="car"))) == 1


def test_a_camera_that_is_down_is_no_absence():
    """Twenty seconds empty, twenty without a frame, five empty."""
    cut = lambda now: 20 < now < 40  # noqa: E731
    assert judged(RULE, film({}, 45, cut=cut)) == []
    assert len(judged(RULE, film({}, 51, cut=cut))) == 1


def test_two_can_be_asked_for():
    rule = {**RULE, "count": 2}
    assert len(judged(rule, film({1: stands(0.5, 0.8)}, 32, label="guard"))) == 1
    assert judged(rule, film({1: stands(0.5, 0.8), 2: stands(0.2, 0.8)}, 32, label="guard")) == []
