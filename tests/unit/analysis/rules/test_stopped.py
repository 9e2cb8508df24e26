"""StoppedRule."""

from __future__ import annotations

import pytest

from tests.unit.analysis.rules.scenes import LOWER_HALF, along, film, jittered, judged, reported, stands

RULE = {"type": "stopped", "dwell": 20}


def stops(seconds: float):
    """Return a car that drives for four seconds, stands for so many, and drives on."""
    return along((0, 0.1, 0.5), (4, 0.5, 0.5), (4 + seconds, 0.5, 0.5), (9 + seconds, 0.9, 0.5))


def test_it_starts_with_the_stop_and_ends_when_the_object_moves_on():
    found = judged(RULE, film({7: stops(25)}, 34))
    assert [one.state for one in found] == ["new", "end"]
    started, ended = ((time - 1_767_225_600_000) / 1000 for time in (found[0].started_ms, found[1].ended_ms or 0))
    assert started == pytest.approx(4, abs=0.41)
    assert ended == pytest.approx(29, abs=0.61)
    assert found[0].value == pytest.approx(20, abs=0.2)


def test_nineteen_seconds_are_not_twenty():
    assert judged(RULE, film({7: stops(19)}, 28)) == []


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_it_is_found_at_any_frame_rate(fps: float):
    assert [one.state for one in judged(RULE, film({7: stops(25)}, 34, fps=fps))] == ["new", "end"]


def test_an_object_that_is_parked_from_the_start_is_none_unless_the_rule_asks_for_it():
    assert judged(RULE, film({7: stands(0.5, 0.5)}, 60)) == []
    assert reported(judged({**RULE, "include_parked": True}, film({7: stands(0.5, 0.5)}, 30))) == [("new", (7,), 0.0)]


def test_boxes_that_jitter_change_nothing():
    for seed in range(4):
        found = judged(
            RULE, jittered(film({7: stops(40), 8: stands(0.8, 0.8)}, 49), seed=seed, missed=0.05, dropped=0.3)
        )
        assert [(one.state, one.track_ids) for one in found] == [("new", (7,)), ("end", (7,))]


def test_an_object_that_creeps_has_not_stopped():
    assert judged(RULE, film({7: along((0, 0.1, 0.5), (60, 0.5, 0.5))}, 60)) == []


def test_a_move_by_less_than_three_tenths_of_the_diagonal_ends_nothing():
    path = along((0, 0.1, 0.5), (4, 0.5, 0.5), (30, 0.5, 0.5), (31, 0.53, 0.5), (40, 0.53, 0.5))
    assert [one.state for one in judged(RULE, film({7: path}, 40))] == ["new"]


def test_only_the_zone_counts():
    rule = {**RULE, "zone": LOWER_HALF}
    assert judged(rule, film({7: along((0, 0.1, 0.3), (4, 0.5, 0.3), (40, 0.5, 0.3))}, 40)) == []
    assert len(judged(rule, film({7: along((0, 0.1, 0.7), (4, 0.5, 0.7), (40, 0.5, 0.7))}, 40))) == 1


def test_one_that_stops_twice_is_two_incidents():
    path = along((0, 0.1, 0.5), (3, 0.4, 0.5), (30, 0.4, 0.5), (33, 0.7, 0.5), (60, 0.7, 0.5))
    found = judged(RULE, film({7: path}, 60))
    assert [one.state for one in found] == ["new", "end", "new"]
    assert found[0].anomaly_id == found[1].anomaly_id != found[2].anomaly_id
