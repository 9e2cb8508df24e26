"""The lives of objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgpack
import pytest

from app.analysis.objects.lives import CameraZones, end_objects, follow_objects
from app.analysis.objects.report import ObjectReport, object_body
from app.analysis.objects.state import VERSION, ObjectsState, decode_objects, encode_objects
from app.analysis.rules.engine import apply_rules, make_camera_rules
from app.analysis.rules.example import START_MS
from app.analysis.rules.frame import Frame
from app.analysis.rules.state import RulesState
from app.errors import StateUnreadable
from app.settings.rule_lists import parse_rules
from tests.unit.analysis.rules.scenes import EVERY, LOWER_HALF, along, drives, film, jittered, stands

YARD = {"id": "yard", "type": "intrusion", "zone": LOWER_HALF}
GATE = {"id": "gate", "type": "line_crossing", "line": [[0.5, 1], [0.5, 0]]}


def followed(
    frames: Iterable[Frame], rules: Sequence[Mapping[str, Any]] = ()
) -> tuple[ObjectsState, list[ObjectReport]]:
    """Return the last state and all reports; the state often passes through its bytes."""
    parsed = parse_rules([dict(rule) for rule in rules])
    ready, zones = make_camera_rules(parsed, "cam"), CameraZones(parsed, "cam")
    judged, state = RulesState(), ObjectsState()
    found: list[ObjectReport] = []
    for number, frame in enumerate(frames):
        judged, judgement = apply_rules(judged, frame, ready)
        state, reports = follow_objects(state, frame, judged, zones, judgement.anomalies)
        if number % EVERY == 0:
            kept = decode_objects(encode_objects(state))
            assert kept == state
            state = kept
        found += reports
    return state, found


def seconds(time_ms: int) -> float:
    return (time_ms - START_MS) / 1000


def test_an_object_is_new_at_its_id_and_ends_when_it_is_lost():
    _, found = followed(film({7: drives(0.1, 0.5, 0.1, until=4)}, 10))
    assert [(one.state, one.track_id, one.reason) for one in found] == [("new", 7, None), ("end", 7, "track_lost")]
    end = found[-1]
    assert (seconds(end.first_ms), seconds(end.last_ms), end.label, end.confidence) == (0.0, 3.8, "car", 0.9)
    assert found[0].object_id == end.object_id


def test_the_path_has_the_first_and_the_last_point_and_at_most_32():
    _, found = followed(film({7: along((0, 0.1, 0.3), (30, 0.9, 0.3), (60, 0.9, 0.9))}, 64, fps=10))
    path = found[-1].path
    assert found[-1].state == "end"
    assert 16 <= len(path) <= 32
    assert path[0] == (START_MS, 0.1, 0.3)
    assert path[-1] == (START_MS + 60_000, 0.9, 0.9)
    assert [point[0] for point in path] == sorted({point[0] for point in path})


@pytest.mark.parametrize("jitter", [False, True])
def test_a_car_that_is_parked_for_ten_minutes_is_one_object_of_at_most_twenty_updates(jitter: bool):
    path = along((0, 0.1, 0.51), (4, 0.5, 0.51), (604, 0.5, 0.51), (608, 0.9, 0.51))  # beside the zone's edge
    scene = film({7: path}, 612, height=0.4, width=0.3)
    _, found = followed(jittered(scene, seed=2, dropped=0.1) if jitter else scene, [YARD])
    states = [one.state for one in found]
    assert (states[0], states[-1], states.count("new"), states.count("end")) == ("new", "end", 1, 1)
    assert 10 <= states.count("update") <= 20
    assert len(found[-1].path) <= 32


def test_it_is_reported_when_it_stops_and_moves_on():
    _, found = followed(film({7: along((0, 0.1, 0.3), (4, 0.5, 0.3), (14, 0.5, 0.3), (18, 0.9, 0.3))}, 18))
    assert [(one.state, one.moving) for one in found] == [("new", True), ("update", False), ("update", True)]
    assert seconds(found[1].last_ms) == pytest.approx(7, abs=0.5)
    assert seconds(found[2].last_ms) == pytest.approx(15.4, abs=0.5)


def test_it_is_reported_when_it_enters_and_leaves_a_zone_and_for_how_long_it_stayed():
    path = along((0, 0.1, 0.3), (5, 0.4, 0.49), (5.2, 0.4, 0.52), (9.2, 0.6, 0.52), (9.4, 0.6, 0.47), (14, 0.9, 0.3))
    _, found = followed(film({7: path}, 18), [YARD])
    assert [(one.state, one.in_zones) for one in found] == [
        ("new", ()),
        ("update", ("yard",)),
        ("update", ()),
        ("end", ()),
    ]
    assert found[-1].zones == {"yard": 4.0}


def test_one_that_only_touches_a_zone_is_not_reported():
    path = along((0, 0.1, 0.3), (5, 0.4, 0.49), (5.2, 0.4, 0.51), (5.8, 0.4, 0.47), (10, 0.9, 0.3))
    _, found = followed(film({7: path}, 10), [YARD])
    assert [one.state for one in found] == ["new"]


def test_the_lines_it_crossed_are_in_its_end():
    _, found = followed(film({7: along((0, 0.3, 0.5), (4, 0.7, 0.5), (8, 0.3, 0.5))}, 11), [GATE])
    assert [(line, direction, seconds(time)) for line, direction, time in found[-1].lines] == [
        ("gate", "left_to_right", 2.0),
        ("gate", "right_to_left", 6.0),
    ]


def test_an_object_as_it_is_published():
    path = along((0, 0.3, 0.6), (4, 0.7, 0.6))
    _, found = followed(film({7: path}, 6), [YARD, GATE])
    body = object_body(found[-1])
    assert json.loads(json.dumps(body)) == body
    assert body["path"][0] == [0.0, 0.3, 0.6]  # type: ignore[index]
    assert body["path"][-1] == [4.0, 0.7, 0.6]  # type: ignore[index]
    assert {name: value for name, value in body.items() if name not in ("path", "object_id")} == {
        "camera_id": "cam",
        "track_id": 7,
        "state": "end",
        "reason": "track_lost",
        "class": "car",
        "confidence": 0.9,
        "first_seen": "2026-01-01T00:00:00.000Z",
        "last_seen": "2026-01-01T00:00:04.000Z",
        "bbox": [675.0, 500.0, 50.0, 100.0],
        "moving": True,
        "zones": {"yard": 4.0},
        "in_zones": ["yard"],
        "lines": [{"line": "gate", "direction": "left_to_right", "at": "2026-01-01T00:00:02.000Z"}],
    }


def test_a_gap_in_the_video_loses_the_camera():
    _, found = followed(
        film({7: stands(0.5, 0.5, until=6), 8: stands(0.5, 0.5, since=6)}, 30, cut=lambda now: 5 < now < 20)
    )
    ends = [one for one in found if one.state == "end"]
    assert [(seconds(one.last_ms), one.reason) for one in ends] == [(5.0, "camera_lost")]


def test_a_camera_that_is_removed_ends_its_objects():
    state, _ = followed(film({7: stands(0.5, 0.5), 8: stands(0.2, 0.5)}, 5))
    state, ends = end_objects(state, "cam")
    assert [(one.track_id, one.state, one.reason) for one in ends] == [
        (7, "end", "camera_lost"),
        (8, "end", "camera_lost"),
    ]
    assert end_objects(state, "cam")[1] == ()


def test_a_frame_that_is_not_later_changes_nothing():
    frames = list(film({7: drives(0.1, 0.5, 0.05)}, 5))
    assert followed([*frames, frames[3]]) == followed(frames)


@pytest.mark.parametrize("data", [b"", b"\xc1", msgpack.packb((VERSION, 1, 2)), msgpack.packb((VERSION,)), b"\x01"])
def test_bytes_that_are_damaged_are_one_error(data: bytes):
    with pytest.raises(StateUnreadable, match="cannot be read"):
        decode_objects(data)


def test_bytes_of_another_version_are_named():
    with pytest.raises(StateUnreadable, match=f"has version 99; version {VERSION} is read"):
        decode_objects(msgpack.packb((99,)))
