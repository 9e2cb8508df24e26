"""WrongWayRule."""

from __future__ import annotations

import pytest

from tests.unit.analysis.rules.scenes import LOWER_HALF, along, drives, film, judged, reported

RULE = {"type": "wrong_way", "direction": [[0.1, 0.5], [0.9, 0.5]]}


def test_an_object_against_the_direction_is_an_incident_until_it_stops():
    path = along((0, 0.9, 0.5), (4, 0.5, 0.5), (10, 0.5, 0.5))
    found = judged(RULE, film({7: path}, 10))
    assert [one.state for one in found] == ["new", "end"]
    assert found[0].value == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("speed_x", "speed_y"), [(0.1, 0), (0, 0.1), (0, -0.1), (-0.1, 0.2)])
def test_an_object_along_or_across_the_direction_is_none(speed_x: float, speed_y: float):
    assert judged(RULE, film({7: drives(0.5, 0.5, speed_x, speed_y)}, 5)) == []


@pytest.mark.parametrize(("tolerance", "incidents"), [(40, 0), (50, 1)])
def test_the_angle_must_be_within_the_tolerance(tolerance: float, incidents: int):
    scene = film({7: drives(0.8, 0.2, -0.1, 0.1)}, 4)  # 45° off straight against it
    assert len(judged({**RULE, "tolerance": tolerance}, scene)) == incidents


@pytest.mark.parametrize(("speed", "incidents"), [(0.028, 0), (0.032, 1)])
def test_the_speed_must_be_three_tenths_of_the_box_a_second(speed: float, incidents: int):
    assert len(judged(RULE, film({7: drives(0.8, 0.5, -speed)}, 5))) == incidents


def test_only_the_zone_counts():
    rule = {**RULE, "zone": LOWER_HALF}
    assert judged(rule, film({7: drives(0.8, 0.3, -0.1)}, 5)) == []
    assert len(judged(rule, film({7: drives(0.8, 0.7, -0.1)}, 5))) == 1


def test_a_car_that_backs_for_half_a_second_is_none():
    path = along((0, 0.1, 0.5), (2, 0.3, 0.5), (2.5, 0.25, 0.5), (6, 0.6, 0.5))
    assert judged(RULE, film({7: path}, 6)) == []


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_it_is_found_at_any_frame_rate(fps: float):
    assert reported(judged(RULE, film({7: drives(0.9, 0.5, -0.1)}, 5, fps=fps)))[0][0] == "new"
