"""ClassCountRule."""

from __future__ import annotations

import pytest

from tests.unit.analysis.rules.scenes import ALL, film, judged, reported, stands

RULE = {"type": "class_count", "zone": ALL, "counts": {"person": ">=1", "helmet": "==0"}}


def test_a_person_without_a_helmet_is_an_incident_until_there_is_one():
    labels = {1: "person", 2: "helmet"}
    scene = film({1: stands(0.5, 0.5), 2: stands(0.5, 0.4, since=10)}, 20, labels=labels)
    assert reported(judged(RULE, scene)) == [("new", (1,), 0.0), ("end", (1,), 10.0)]


def test_a_person_with_a_helmet_is_none():
    scene = film({1: stands(0.5, 0.5), 2: stands(0.5, 0.4)}, 10, labels={1: "person", 2: "helmet"})
    assert judged(RULE, scene) == []


def test_a_helmet_that_is_missed_for_a_moment_is_still_there():
    helmet = lambda now: None if int(now * 5) % 3 else (0.5, 0.4)  # noqa: E731
    assert judged(RULE, film({1: stands(0.5, 0.5), 2: helmet}, 10, labels={1: "person", 2: "helmet"})) == []


@pytest.mark.parametrize(
    ("comparison", "incidents"),
    [(">=2", 1), (">=3", 0), ("<=2", 1), ("<=1", 0), ("==2", 1), ("!=2", 0), (">1", 1), ("< 3", 1), ("<2", 0)],
)
def test_the_comparisons(comparison: str, incidents: int):
    scene = film({1: stands(0.3, 0.5), 2: stands(0.6, 0.5)}, 4, label="person")
    assert len(judged({**RULE, "counts": {"person": comparison}}, scene)) == incidents
