"""LineCrossingRule."""

from __future__ import annotations

import math
import random

import pytest

from tests.unit.analysis.rules.scenes import Place, along, drives, film, jittered, judged, reported

UPWARDS = [[0.5, 0.9], [0.5, 0.1]]
"""From the bottom up: left is left."""
RULE = {"type": "line_crossing", "line": UPWARDS}


def directions(rule: dict[str, object], scene: object) -> list[str | None]:
    return [one.direction for one in judged(rule, scene)]  # type: ignore[arg-type]


def test_a_crossing_is_one_instant_with_its_time_between_the_frames():
    found = judged(RULE, film({7: drives(0.3, 0.5, 0.1)}, 4, fps=2))
    assert reported(found) == [("instant", (7,), 2.0)]
    assert (found[0].direction, found[0].classes, found[0].line, found[0].zone) == (
        "left_to_right",
        ("car",),
        "rule-0",
        None,
    )


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_the_time_is_the_same_at_any_frame_rate(fps: float):
    found = judged(RULE, film({7: drives(0.31, 0.5, 0.1)}, 4, fps=fps))
    assert [(one.started_ms - 1_767_225_600_000) / 1000 for one in found] == [pytest.approx(1.9, abs=0.002)]


def test_there_and_back_are_two_in_two_directions():
    path = along((0, 0.3, 0.5), (3, 0.7, 0.5), (6, 0.3, 0.5))
    assert directions(RULE, film({7: path}, 6)) == ["left_to_right", "right_to_left"]


@pytest.mark.parametrize(
    ("direction", "counted"),
    [("any", 2), ("left_to_right", 1), ("right_to_left", 1)],
)
def test_a_rule_can_be_about_one_direction(direction: str, counted: int):
    path = along((0, 0.3, 0.5), (3, 0.7, 0.5), (6, 0.3, 0.5))
    assert len(judged({**RULE, "direction": direction}, film({7: path}, 6))) == counted


def test_left_and_right_are_seen_from_a_to_b():
    downwards = {**RULE, "line": UPWARDS[::-1]}
    assert directions(downwards, film({7: drives(0.3, 0.5, 0.1)}, 4)) == ["right_to_left"]
    rightwards = {**RULE, "line": [[0.1, 0.5], [0.9, 0.5]]}
    assert directions(rightwards, film({7: drives(0.5, 0.3, 0, 0.1)}, 4)) == ["left_to_right"]


def test_a_wide_object_that_stands_on_the_line_counts_nothing():
    """A box three times as wide as it is high, off by 2 % of its sides."""
    for seed in range(5):
        scene = film({7: lambda _: (0.5, 0.5)}, 60, width=0.3, height=0.1)
        assert judged(RULE, jittered(scene, seed=seed)) == []


def test_a_wide_object_that_drives_over_the_line_counts_once():
    scene = film({7: drives(0.2, 0.5, 0.1)}, 6, width=0.3, height=0.1)
    assert directions(RULE, scene) == ["left_to_right"]


def test_a_wobble_on_the_line_counts_nothing():
    """Fifty times over the line by less than the band."""
    scene = film({7: lambda now: (0.5 + (0.008 if int(now * 5) % 2 else -0.008), 0.5)}, 21)
    assert judged(RULE, scene) == []


def test_an_object_that_comes_wobbles_and_goes_on_is_counted_once():
    def place(now: float) -> tuple[float, float]:
        if now < 2:
            return 0.3 + 0.1 * now, 0.5
        if now < 12:
            return 0.5 + 0.008 * (-1) ** int(now * 5), 0.5
        return 0.5 + 0.1 * (now - 12), 0.5

    assert directions(RULE, film({7: place}, 14)) == ["left_to_right"]


def test_an_object_that_comes_wobbles_and_turns_back_is_not_counted():
    def place(now: float) -> tuple[float, float]:
        if now < 2:
            return 0.3 + 0.1 * now, 0.5
        if now < 12:
            return 0.5 + 0.008 * (-1) ** int(now * 5), 0.5
        return 0.5 - 0.1 * (now - 12), 0.5

    assert judged(RULE, film({7: place}, 14)) == []


def test_an_object_that_passes_beside_the_segment_is_not_counted():
    assert judged(RULE, film({7: drives(0.3, 0.95, 0.1)}, 4)) == []


def test_the_path_counts_and_not_the_way_from_side_to_side():
    """It crosses below the segment's end, and goes along the line within the band before it leaves that."""
    path = along((0, 0.4, 0.96), (1, 0.495, 0.96), (1.2, 0.505, 0.96), (3, 0.505, 0.7), (4, 0.6, 0.3))
    assert judged(RULE, film({7: path}, 4, fps=10)) == []


def test_an_object_first_seen_on_the_line_has_no_side_yet():
    assert judged(RULE, film({7: drives(0.5, 0.5, 0.1)}, 4)) == []


def test_a_box_that_is_high_needs_to_go_farther():
    path = along((0, 0.4, 0.6), (1, 0.53, 0.6), (2, 0.53, 0.6), (3, 0.4, 0.6))
    assert judged(RULE, film({7: path}, 3, height=0.4)) == []
    assert len(judged(RULE, film({7: path}, 3, height=0.1))) == 2


def test_a_track_that_is_unseen_on_the_line_is_counted_when_it_is_found_again():
    path = drives(0.3, 0.5, 0.1)
    scene = film({7: lambda now: None if 1.6 < now < 2.6 else path(now)}, 4)
    assert reported(judged(RULE, scene)) == [("instant", (7,), 2.0)]


def test_a_track_that_was_lost_begins_anew():
    path = drives(0.3, 0.5, 0.1)
    scene = film({7: lambda now: None if 1.2 < now < 2.9 else path(now)}, 4)
    assert judged(RULE, scene) == []


def test_a_cooldown_leaves_crossings_out():
    path = along((0, 0.3, 0.5), (2, 0.7, 0.5), (4, 0.3, 0.5), (6, 0.7, 0.5))
    assert len(judged(RULE, film({7: path}, 6))) == 3
    assert len(judged({**RULE, "cooldown": 3}, film({7: path}, 6))) == 2


def test_two_objects_that_cross_at_once_are_two():
    found = judged(RULE, film({7: drives(0.3, 0.3, 0.1), 8: drives(0.7, 0.6, -0.1)}, 4))
    assert [(one.track_ids, one.direction) for one in found] == [((7,), "left_to_right"), ((8,), "right_to_left")]


def crowd_of_walkers(seed: int, count: int, seconds: float) -> tuple[dict[int, Place], int, int]:
    """Return walkers of which some cross, turn or stop before the line; how many cross to the right and to the left."""
    rng = random.Random(seed)
    walkers: dict[int, Place] = {}
    right = left = 0
    for track in range(count):
        start = rng.uniform(0, seconds - 16)
        y, speed, rightwards = rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.12), rng.random() < 0.5
        from_x, to_x = (0.1, 0.9) if rightwards else (0.9, 0.1)
        behaviour = rng.choice(["crosses", "turns", "returns"])
        turn_x = {"crosses": to_x, "turns": 0.5 + (0.5 - to_x) * 0.15, "returns": to_x}[behaviour]
        there = abs(turn_x - from_x) / speed
        points = [(start, from_x, y), (start + there, turn_x, y)]
        if behaviour != "crosses":
            points.append((start + 2 * there, from_x, y))
        crosses_there, crosses_back = behaviour != "turns", behaviour == "returns"
        right += crosses_there if rightwards else crosses_back
        left += crosses_back if rightwards else crosses_there
        walkers[track + 1] = along(*points)
    return walkers, right, left


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_the_count_is_the_truth_at_any_frame_rate(fps: float):
    walkers, right, left = crowd_of_walkers(seed=5, count=20, seconds=40)
    found = directions(RULE, film(walkers, 75, fps=fps))
    assert (found.count("left_to_right"), found.count("right_to_left")) == (right, left)
    assert right >= 5 <= left


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_the_count_is_the_truth_with_boxes_that_jitter(fps: float):
    walkers, right, left = crowd_of_walkers(seed=8, count=12, seconds=30)
    found = directions(RULE, jittered(film(walkers, 65, fps=fps), seed=fps_seed(fps), missed=0, dropped=0))
    assert (found.count("left_to_right"), found.count("right_to_left")) == (right, left)


def fps_seed(fps: float) -> int:
    return math.floor(fps)
