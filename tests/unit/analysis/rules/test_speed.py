"""SpeedRule."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from app.analysis.rules.example import frame_at
from app.analysis.rules.frame import SeenObject
from app.analysis.rules.homography import Homography
from tests.unit.analysis.rules.scenes import ALL, LOWER_HALF, drives, film, jittered, judged

FLAT = {"points": ALL, "metres": [[0, 0], [100, 0], [100, 100], [0, 100]]}
"""A picture of 100 m by 100 m, from above."""
RULE = {"type": "speed", "ground": FLAT, "limit": 36}


def test_the_value_is_the_speed_on_the_ground():
    found = judged(RULE, film({7: drives(0.1, 0.1, 0.1, 0.05)}, 5))
    assert [one.state for one in found] == ["new"]
    assert found[0].value == pytest.approx(3.6 * math.hypot(10, 5), abs=0.1)


@pytest.mark.parametrize(("metres_a_second", "incidents"), [(9.8, 0), (10.2, 1)])
def test_the_limit_is_in_kilometres_an_hour(metres_a_second: float, incidents: int):
    assert len(judged(RULE, film({7: drives(0.1, 0.5, metres_a_second / 100)}, 6))) == incidents


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_the_speed_is_the_same_at_any_frame_rate(fps: float):
    found = judged(RULE, film({7: drives(0.1, 0.5, 0.12)}, 5, fps=fps))
    assert found[0].value == pytest.approx(43.2, abs=0.1)


def test_a_wide_picture_has_the_same_ground():
    frames = [
        replace(
            one,
            width=2000,
            objects=tuple(seen._replace(bbox=(seen.bbox[0] * 2 + 25, *seen.bbox[1:])) for seen in one.objects),
        )
        for one in film({7: drives(0.1, 0.5, 0.12)}, 5)
    ]
    assert judged(RULE, frames)[0].value == pytest.approx(43.2, abs=0.1)


def test_boxes_that_the_border_cuts_off_do_not_count():
    """A lorry that is wholly in the picture for a second."""

    def cut_off(now: float) -> tuple[SeenObject, ...]:
        left, right = (max(0.0, min(1000.0, 1000 * (0.2 * now + side))) for side in (-0.7, 0.1))
        return (SeenObject("truck", 0.9, (round(left, 2), 400.0, round(right - left, 2), 100.0), 7),)

    frames = [replace(frame_at(number / 5, []), objects=cut_off(number / 5)) for number in range(28)]
    (new,) = judged({**RULE, "limit": 65}, frames)
    assert new.value == pytest.approx(72, abs=0.1)
    assert new.track_ids == (7,)


def test_one_wild_box_is_no_speed():
    def place(now: float) -> tuple[float, float]:
        return (0.35 if 2.9 < now < 3.1 else 0.3, 0.5)

    assert judged({**RULE, "limit": 50}, film({7: place}, 6)) == []


def test_a_standing_object_with_boxes_that_jitter_is_no_speed():
    assert judged(RULE, jittered(film({7: lambda _: (0.5, 0.5)}, 60), seed=3)) == []


def test_only_the_zone_counts():
    assert judged({**RULE, "zone": LOWER_HALF}, film({7: drives(0.1, 0.3, 0.12)}, 5)) == []


def test_perspective_is_undone():
    """A trapezium on the picture is a rectangle on the ground."""
    points, metres = [(0.4, 0.3), (0.6, 0.3), (0.9, 0.9), (0.1, 0.9)], [(0, 40), (8, 40), (8, 0), (0, 0)]
    ground = Homography(points, metres)
    for point, there in zip(points, metres, strict=True):
        assert ground.place(*point) == pytest.approx(there, abs=1e-9)
    crossing = ground.place(0.5, 0.42)  # of the trapezium's diagonals: the middle of the rectangle
    assert crossing == pytest.approx((4, 20), abs=1e-9)
