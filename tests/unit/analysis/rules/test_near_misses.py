"""Scenes in which nothing happened, all rules at once, with boxes as they are and with boxes that jitter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.analysis.rules.frame import Frame
from tests.unit.analysis.rules.scenes import ALL, LOWER_HALF, along, drives, film, jittered, judged, stands

RULES = [
    {"type": "intrusion", "zone": LOWER_HALF, "start_after": 1},
    {"type": "loitering", "zone": LOWER_HALF, "dwell": 20},
    {"type": "loitering", "zone": LOWER_HALF, "dwell": 30, "mode": "total", "window": 60},
    {"type": "line_crossing", "line": [[0.5, 0.45], [0.5, 0.05]]},
    {"type": "wrong_way", "direction": [[0.1, 0.3], [0.9, 0.3]], "zone": [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]},
    {"type": "stopped", "dwell": 20},
    {"type": "congestion", "zone": ALL, "count": 4},
    {"type": "crowd", "zone": ALL, "count": 5},
    {"type": "class_count", "zone": ALL, "counts": {"person": ">=3"}},
    {"type": "proximity", "distance": 1.0},
    {"type": "abandoned", "classes": ["suitcase"], "dwell": 20},
]
EXCEPT_INTRUSION = RULES[1:]


def nineteen_of_twenty_in_the_zone() -> Iterator[Frame]:
    return film({1: lambda now: (0.2 + 0.02 * now, 0.8 if 2 <= now < 20.8 else 0.2)}, 25)


def nineteen_of_twenty_at_rest() -> Iterator[Frame]:
    return film({1: along((0, 0.1, 0.2), (3, 0.4, 0.2), (21.5, 0.4, 0.2), (22, 0.45, 0.2))}, 22)


def fifty_wobbles_on_the_line() -> Iterator[Frame]:
    return film({1: lambda now: (0.5 + (0.004 if int(now * 5) % 2 else -0.004), 0.3 - 0.006 * now)}, 10.2)


def touches_the_zone_and_leaves() -> Iterator[Frame]:
    return film({1: along((0, 0.3, 0.3), (2, 0.35, 0.49), (2.4, 0.36, 0.52), (2.8, 0.37, 0.49), (5, 0.4, 0.3))}, 5)


def parked_from_the_start() -> Iterator[Frame]:
    return film({1: stands(0.3, 0.2)}, 100)


def cut_for_ten_seconds_in_the_zone() -> Iterator[Frame]:
    first, second = drives(0.1, 0.8, 0.02, until=9.5), drives(0.3, 0.8, 0.02, since=10)
    return film({1: first, 2: second}, 28, cut=lambda now: 9 < now < 19)


def four_of_five() -> Iterator[Frame]:
    return film({one: drives(0.55, 0.2 * one, 0.04) for one in range(1, 5)}, 10)


SCENES = [
    nineteen_of_twenty_in_the_zone,
    nineteen_of_twenty_at_rest,
    fifty_wobbles_on_the_line,
    touches_the_zone_and_leaves,
    parked_from_the_start,
    cut_for_ten_seconds_in_the_zone,
    four_of_five,
]


def rules_for(scene: object) -> list[dict[str, object]]:
    in_the_zone = (nineteen_of_twenty_in_the_zone, cut_for_ten_seconds_in_the_zone, four_of_five)
    return EXCEPT_INTRUSION if scene in in_the_zone else RULES


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_nothing_is_reported_of_a_near_miss(scene):
    assert judged(rules_for(scene), scene()) == []


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_nothing_is_reported_of_a_near_miss_with_boxes_that_jitter(scene):
    for seed in range(3):
        assert judged(rules_for(scene), jittered(scene(), seed=seed)) == []
