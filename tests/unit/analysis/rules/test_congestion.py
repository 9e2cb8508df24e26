"""CongestionRule."""

from __future__ import annotations

import pytest

from tests.unit.analysis.rules.scenes import ALL, LOWER_HALF, Place, drives, film, judged, reported, stands

RULE = {"type": "congestion", "zone": ALL, "count": 4}


def lanes(speed: float, count: int = 4) -> dict[int, Place]:
    return {lane: drives(0.1, 0.15 * lane, speed) for lane in range(1, count + 1)}


def test_many_slow_objects_are_one_incident_of_the_zone():
    found = judged(RULE, film(lanes(0.02), 20))
    assert reported(found) == [("new", (1, 2, 3, 4), 0.8)]
    assert (found[0].value, found[0].zone) == (4, "rule-0")


@pytest.mark.parametrize(("speed", "incidents"), [(0.032, 0), (0.028, 1)])
def test_the_median_speed_must_be_at_most_the_limit(speed: float, incidents: int):
    assert len(judged(RULE, film(lanes(speed), 15))) == incidents


def test_too_few_are_none():
    assert judged(RULE, film(lanes(0.02, count=3), 20)) == []


def test_one_fast_object_among_them_changes_nothing():
    fast = {9: drives(0.1, 0.9, 0.05)}
    assert len(judged(RULE, film({**lanes(0.01), **fast}, 14))) == 1


def test_it_ends_when_they_have_gone():
    scene = {lane: stands(0.2 * lane, 0.5, until=20) for lane in range(1, 5)}
    found = judged(RULE, film(scene, 35))
    assert [one.state for one in found] == ["new", "end"]
    assert (found[1].ended_ms or 0) - found[1].started_ms == pytest.approx(20_000, abs=1500)


def test_only_the_zone_counts():
    assert judged({**RULE, "zone": LOWER_HALF}, film(lanes(0.02), 20)) == []
