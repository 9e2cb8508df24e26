"""CrowdRule."""

from __future__ import annotations

from dataclasses import replace

from app.analysis.rules.example import frame_at
from tests.unit.analysis.rules.scenes import ALL, FPS, Place, film, jittered, judged, reported, stands

RULE = {"type": "crowd", "zone": ALL, "count": 5, "hysteresis": 2}


def people(*spans: tuple[float, float]) -> dict[int, Place]:
    return {one: stands(0.1 * one, 0.5, *span) for one, span in enumerate(spans, start=1)}


def test_it_ends_below_the_count_less_the_hysteresis():
    scene = people((0, 99), (0, 99), (0, 20), (0, 10), (2, 10))
    found = judged(RULE, film(scene, 30))
    assert reported(found)[0] == ("new", (1, 2, 3, 4, 5), 2.0)
    state, _, ended = reported(found)[1]
    assert (state, 20 <= ended <= 20.6) == ("end", True)  # three are enough to go on


def test_four_are_not_five():
    assert judged(RULE, film(people(*[(0, 99)] * 4), 10)) == []


def test_five_for_less_than_three_seconds_are_none():
    assert judged(RULE, film(people(*[(0, 99)] * 4, (5, 7.4)), 12)) == []


def test_people_who_are_missed_in_some_frames_still_count():
    for seed in range(4):
        scene = jittered(film(people(*[(0, 99)] * 5), 30), seed=seed, missed=0.05, dropped=0.3)
        assert [one.state for one in judged(RULE, scene) if one.state != "update"] == ["new"]


def test_objects_without_a_track_count():
    frames = [frame_at(n / FPS, [("person", None, 0.1 * one, 0.5) for one in range(1, 6)]) for n in range(30)]
    assert reported(judged(RULE, frames)) == [("new", (), 0.0)]
    weak = [replace(one, objects=tuple(seen._replace(confidence=0.3) for seen in one.objects)) for one in frames]
    assert judged({**RULE, "min_confidence": 0.5}, weak) == []


def test_a_crowd_that_grows_much_is_reported_before_half_a_minute_has_passed():
    scene = people(*[(0, 99)] * 5, *[(10, 99)] * 4)
    found = judged(RULE, film(scene, 20))
    assert [(one.state, one.value) for one in found] == [("new", 5), ("update", 9)]


def test_an_update_comes_every_half_minute():
    found = judged(RULE, film(people(*[(0, 999)] * 5), 100))
    assert [one.state for one in found] == ["new", "update", "update", "update"]
    assert len({one.anomaly_id for one in found}) == 1


def test_one_who_is_missed_around_frames_that_were_dropped_still_counts():
    scene = people(*[(0, 99)] * 4)
    scene[5] = lambda now: None if now in (1.0, 2.0) else (0.5, 0.5)
    found = judged(RULE, film(scene, 4, cut=lambda now: 1 < now < 2))
    assert reported(found) == [("new", (1, 2, 3, 4, 5), 0.0)]
