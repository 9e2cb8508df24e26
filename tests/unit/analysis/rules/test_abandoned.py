"""AbandonedRule."""

from __future__ import annotations

import pytest

from tests.unit.analysis.rules.scenes import along, film, judged, reported, stands

RULE = {"type": "abandoned", "classes": ["suitcase"], "dwell": 20}
LABELS = {1: "suitcase", 2: "person"}


def test_it_starts_when_the_owner_is_out_of_reach_and_ends_when_someone_comes():
    owner = along((0, 0.5, 0.5), (5, 0.5, 0.5), (7, 0.9, 0.5), (40, 0.9, 0.5), (42, 0.5, 0.5), (50, 0.5, 0.5))
    found = reported(judged(RULE, film({1: stands(0.5, 0.5), 2: owner}, 50, labels=LABELS)))
    assert [(state, tracks) for state, tracks, _ in found] == [("new", (1,)), ("end", (1,))]
    assert found[0][2] == pytest.approx(6, abs=0.3)
    assert found[1][2] == pytest.approx(41, abs=0.3)


def test_a_thing_with_its_owner_is_none():
    assert judged(RULE, film({1: stands(0.5, 0.5), 2: stands(0.6, 0.5)}, 60, labels=LABELS)) == []


def test_an_owner_who_comes_back_in_time_starts_the_time_again():
    owner = along(
        (0, 0.5, 0.5), (5, 0.9, 0.5), (20, 0.9, 0.5), (24, 0.5, 0.5), (26, 0.5, 0.5), (30, 0.9, 0.5), (45, 0.9, 0.5)
    )
    assert judged(RULE, film({1: stands(0.5, 0.5), 2: owner}, 45, labels=LABELS)) == []


def test_a_thing_that_is_carried_is_none():
    path = along((0, 0.1, 0.5), (30, 0.9, 0.5))
    assert judged(RULE, film({1: path}, 30, labels=LABELS)) == []


def test_one_that_must_have_moved_is_asked_for():
    rule = {**RULE, "include_parked": False}
    assert judged(rule, film({1: stands(0.5, 0.5)}, 60, labels=LABELS)) == []
    brought = along((0, 0.1, 0.5), (4, 0.5, 0.5), (60, 0.5, 0.5))
    assert len(judged(rule, film({1: brought}, 40, labels=LABELS))) == 1


def test_an_owner_who_is_missed_in_some_frames_is_there():
    owner = lambda now: None if int(now * 5) % 3 else (0.6, 0.5)  # noqa: E731
    assert judged(RULE, film({1: stands(0.5, 0.5), 2: owner}, 60, labels=LABELS)) == []
