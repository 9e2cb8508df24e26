"""ProximityRule."""

from __future__ import annotations

from tests.unit.analysis.rules.scenes import LOWER_HALF, along, film, judged, reported, stands

RULE = {"type": "proximity", "distance": 1.5}


def test_a_pair_is_near_until_it_parts():
    path = along((0, 0.9, 0.5), (4, 0.6, 0.5), (10, 0.6, 0.5), (13, 0.9, 0.5), (20, 0.9, 0.5))
    found = judged(RULE, film({9: stands(0.5, 0.5), 4: path}, 20))
    assert [(one.state, one.track_ids) for one in found] == [("new", (4, 9)), ("end", (4, 9))]


def test_two_that_pass_each_other_are_none():
    path = along((0, 0.1, 0.5), (4, 0.9, 0.5), (9, 0.9, 0.5))
    assert judged(RULE, film({1: stands(0.5, 0.5), 2: path}, 9)) == []


def test_three_together_are_three_pairs():
    found = judged(RULE, film({1: stands(0.5, 0.5), 2: stands(0.55, 0.5), 3: stands(0.5, 0.55)}, 3))
    assert [one.track_ids for one in found] == [(1, 2), (1, 3), (2, 3)]


def test_the_distance_is_in_mean_heights_of_the_two():
    near = {1: stands(0.5, 0.5), 2: stands(0.62, 0.5)}
    assert len(judged(RULE, film(near, 3, height=0.1))) == 1
    assert judged(RULE, film(near, 3, height=0.07)) == []


def test_a_pair_of_which_one_is_lost_ends_when_it_was_last_seen():
    found = judged(RULE, film({1: stands(0.5, 0.5), 2: stands(0.55, 0.5, until=5)}, 10))
    assert reported(found) == [("new", (1, 2), 0.0), ("end", (1, 2), 4.8, "track_lost")]


def test_a_pair_that_leaves_the_zone_ends():
    rule = {**RULE, "zone": LOWER_HALF}
    leaves = along((0, 0.55, 0.6), (5, 0.55, 0.6), (5.1, 0.55, 0.4), (9, 0.55, 0.4))
    assert reported(judged(rule, film({1: stands(0.5, 0.55), 2: leaves}, 9)))[1][:2] == ("end", (1, 2))


def test_the_same_pair_waits_for_the_cooldown():
    path = along((0, 0.55, 0.5), (4, 0.55, 0.5), (4.1, 0.9, 0.5), (8, 0.9, 0.5), (8.1, 0.55, 0.5), (30, 0.55, 0.5))
    scene = {1: stands(0.5, 0.5), 2: path}
    assert [one.state for one in judged(RULE, film(scene, 12))] == ["new", "end", "new"]
    assert [one.state for one in judged({**RULE, "cooldown": 10}, film(scene, 12))] == ["new", "end"]
    assert [one.state for one in judged({**RULE, "cooldown": 10}, film(scene, 20))] == ["new", "end", "new"]
