"""IntrusionRule."""

from __future__ import annotations

import pytest

from tests.unit.analysis.rules.scenes import LOWER_HALF, along, film, judged, reported, stands

RULE = {"type": "intrusion", "zone": LOWER_HALF}


def test_an_object_that_comes_in_and_leaves_is_one_incident():
    path = along((0, 0.5, 0.3), (2, 0.5, 0.3), (2.1, 0.5, 0.7), (5, 0.5, 0.7), (5.1, 0.5, 0.3), (9, 0.5, 0.3))
    assert reported(judged(RULE, film({7: path}, 9))) == [("new", (7,), 2.2), ("end", (7,), 5.2)]


def test_an_object_that_touches_the_zone_and_leaves_is_none():
    path = along((0, 0.5, 0.3), (2, 0.5, 0.3), (2.1, 0.5, 0.7), (2.5, 0.5, 0.7), (2.6, 0.5, 0.3), (9, 0.5, 0.3))
    assert judged(RULE, film({7: path}, 9)) == []


def test_each_track_has_its_own_incident():
    found = judged(RULE, film({7: stands(0.2, 0.7), 8: stands(0.8, 0.7, since=1)}, 3))
    assert reported(found) == [("new", (7,), 0), ("new", (8,), 1)]


def test_an_object_of_another_class_is_none():
    assert judged({**RULE, "classes": ["person"]}, film({7: stands(0.5, 0.7)}, 3)) == []


def test_the_class_is_the_one_most_frames_gave():
    frames = list(film({7: stands(0.5, 0.7)}, 3))
    frames = [
        one if number % 4 else next(film({7: stands(0.5, 0.7)}, 0, label="truck")) for number, one in enumerate(frames)
    ]
    assert len(judged({**RULE, "classes": ["car"]}, film({7: stands(0.5, 0.7)}, 3))) == 1
    assert judged({**RULE, "classes": ["truck"], "start_after": 1}, frames[1:]) == []


@pytest.mark.parametrize(("confidence", "incidents"), [(0.59, 0), (0.6, 1)])
def test_the_mean_confidence_must_reach_the_least(confidence: float, incidents: int):
    found = judged({**RULE, "min_confidence": 0.6}, film({7: stands(0.5, 0.7)}, 2, confidence=confidence))
    assert len(found) == incidents


@pytest.mark.parametrize(("height", "incidents"), [(0.19, 0), (0.21, 1)])
def test_the_height_must_reach_the_least(height: float, incidents: int):
    assert len(judged({**RULE, "min_height": 0.2}, film({7: stands(0.5, 0.9)}, 2, height=height))) == incidents


@pytest.mark.parametrize(
    ("anchor", "feet", "incidents"),
    [
        ("bottom_center", 0.55, 1),
        ("center", 0.55, 0),  # its centre is at 0.45
        ("center", 0.65, 1),
        ("top_center", 0.65, 0),
        ("top_center", 0.75, 1),
        ("any", 0.59, 0),  # 45 % of the box is in the zone
        ("any", 0.61, 1),
    ],
)
def test_the_anchor_is_what_counts(anchor: str, feet: float, incidents: int):
    found = judged({**RULE, "anchor": anchor}, film({7: stands(0.5, feet)}, 2, height=0.2))
    assert len(found) == incidents


def test_the_share_that_counts_can_be_set():
    rule = {**RULE, "anchor": "any", "overlap": 0.2}
    assert len(judged(rule, film({7: stands(0.5, 0.55)}, 2, height=0.2))) == 1


def test_an_object_that_is_cut_off_at_the_edge_of_the_picture_is_in_a_zone_that_reaches_it():
    assert len(judged(RULE, film({7: stands(0.0, 1.0)}, 2))) == 1


def test_a_wobble_at_the_edge_of_the_zone_ends_nothing():
    found = judged(RULE, film({7: lambda now: (0.5, 0.503 if int(now * 5) % 2 else 0.497)}, 20))
    assert reported(found) == [("new", (7,), 0.2)]


def test_without_a_margin_it_ends_and_begins():
    path = along(
        (0, 0.5, 0.503), (3, 0.5, 0.503), (3.1, 0.5, 0.497), (6, 0.5, 0.497), (6.1, 0.5, 0.503), (9, 0.5, 0.503)
    )
    assert len(judged({**RULE, "margin": 0}, film({7: path}, 9))) == 3
    assert len(judged(RULE, film({7: path}, 9))) == 1
