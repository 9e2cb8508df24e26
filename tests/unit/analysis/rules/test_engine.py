"""apply_rules: gaps, lost tracks and cameras, changed and removed rules, whose camera a rule is for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.analysis.rules.anomaly import Anomaly
from app.analysis.rules.engine import LOST_AFTER_S, CameraRules, apply_rules, end_camera, make_camera_rules
from app.analysis.rules.example import START_MS, frame_at
from app.analysis.rules.frame import Frame
from app.analysis.rules.state import RulesState
from app.settings.rule_lists import parse_rules
from tests.unit.analysis.rules.scenes import ALL, FPS, LOWER_HALF, along, drives, film, judged, reported, stands

YARD: dict[str, Any] = {"id": "yard", "type": "intrusion", "zone": ALL}
QUEUE: dict[str, Any] = {"id": "queue", "type": "crowd", "zone": ALL, "count": 2, "start_after": 1}
WAIT: dict[str, Any] = {"id": "wait", "type": "loitering", "zone": ALL, "dwell": 20}


def ready(*rules: dict[str, Any], camera: str = "cam", lost_after: float = LOST_AFTER_S) -> CameraRules:
    return make_camera_rules(parse_rules(rules), camera, lost_after)


def run(state: RulesState, frames: Any, rules: CameraRules) -> tuple[RulesState, list[Anomaly]]:
    found: list[Anomaly] = []
    for frame in frames:
        state, judgement = apply_rules(state, frame, rules)
        found += judgement.transitions
    return state, found


def later(seconds: float, *tracks: int) -> Frame:
    return frame_at(seconds, [("car", track, 0.1 * track, 0.5) for track in tracks])


@pytest.mark.parametrize(
    ("patterns", "cameras"),
    [
        (["*"], ["gate-1", "gate-22", "yard", "Gate-1"]),
        (["gate-*"], ["gate-1", "gate-22"]),
        (["gate-?"], ["gate-1"]),
        (["gate-[0-9]", "yard"], ["gate-1", "yard"]),
        (["gate"], []),
    ],
)
def test_a_rule_is_for_the_cameras_that_its_ids_and_globs_name(patterns: list[str], cameras: list[str]):
    rule = {**YARD, "cameras": patterns}
    assert [one for one in ("gate-1", "gate-22", "yard", "Gate-1") if ready(rule, camera=one).rules] == cameras


def test_a_lost_track_ends_its_incident_when_it_was_last_seen():
    found = judged(YARD, film({7: stands(0.5, 0.5, until=5)}, 10))
    assert reported(found) == [("new", (7,), 0.0), ("end", (7,), 4.8, "track_lost")]


def test_a_track_that_is_found_again_in_time_goes_on():
    scene = film({7: lambda now: None if 5 <= now < 6.2 else (0.5, 0.5)}, 10)
    assert reported(judged(YARD, scene)) == [("new", (7,), 0.0)]


def test_a_track_that_comes_back_too_late_is_another_incident():
    scene = film({7: lambda now: None if 5 <= now < 7 else (0.5, 0.5)}, 10)
    found = judged(YARD, scene)
    assert reported(found) == [("new", (7,), 0.0), ("end", (7,), 4.8, "track_lost"), ("new", (7,), 7.0)]
    assert found[0].anomaly_id == found[1].anomaly_id != found[2].anomaly_id


@pytest.mark.parametrize(("lost_after", "same"), [(0.7, False), (1.5, False), (2.3, True), (10, True)])
def test_a_track_is_lost_as_the_tracker_loses_it(lost_after: float, same: bool):
    scene = film({7: lambda now: None if 5 <= now < 7 else (0.5, 0.5)}, 10)
    _, found = run(RulesState(), scene, ready(YARD, lost_after=lost_after))
    states = [one.state for one in found if one.state != "update"]
    assert states == (["new"] if same else ["new", "end", "new"])


def test_a_track_that_left_and_is_lost_ended_when_it_left():
    path = along((0, 0.5, 0.7), (5, 0.5, 0.7), (5.1, 0.5, 0.3), (5.5, 0.5, 0.3))
    found = judged({**YARD, "zone": LOWER_HALF}, film({7: path}, 10))
    assert reported(found)[1] == ("end", (7,), 5.2, "track_lost")


def test_a_gap_in_the_video_is_no_dwell():
    """Eight seconds, ten without a frame, eight: the tracker gives another id after the gap."""
    scene = film({1: stands(0.5, 0.5, until=9), 2: stands(0.5, 0.5, since=9)}, 26, cut=lambda now: 8 < now < 18)
    assert judged(WAIT, scene) == []


def test_the_same_id_after_a_gap_is_no_dwell_either():
    assert judged(WAIT, film({1: stands(0.5, 0.5)}, 26, cut=lambda now: 8 < now < 18)) == []


def test_a_gap_in_the_video_is_no_absence():
    """A crowd that is there before and after ten seconds without a frame is one incident."""
    scene = film({1: stands(0.3, 0.5), 2: stands(0.6, 0.5)}, 30, cut=lambda now: 8 < now < 18)
    assert reported(judged(QUEUE, scene)) == [("new", (1, 2), 0.0)]


def test_a_camera_that_is_silent_for_long_ends_all_at_its_last_frame():
    scene = list(film({1: stands(0.3, 0.5), 2: stands(0.6, 0.5)}, 60, cut=lambda now: 8 < now < 50))
    found = reported(judged([YARD, QUEUE], scene))
    assert sorted(found[:3]) == [("new", (1,), 0.0), ("new", (1, 2), 0.0), ("new", (2,), 0.0)]
    assert found[3:6] == [
        ("end", (1,), 8.0, "camera_lost"),
        ("end", (2,), 8.0, "camera_lost"),
        ("end", (1, 2), 8.0, "camera_lost"),
    ]
    assert found[6:] == [("new", (1,), 50.0), ("new", (2,), 50.0), ("new", (1, 2), 50.0)]


def test_a_camera_that_is_removed_ends_all_at_its_last_frame():
    rules = ready(YARD, QUEUE)
    state, _ = run(RulesState(), film({1: stands(0.3, 0.5), 2: stands(0.6, 0.5, until=5)}, 5.4), rules)
    state, judgement = end_camera(state, "cam")
    assert reported(judgement.transitions) == [
        ("end", (1,), 5.4, "camera_lost"),
        ("end", (2,), 4.8, "camera_lost"),
        ("end", (1,), 5.4, "camera_lost"),  # of the crowd, which the second has left: it was two less one
    ]
    assert end_camera(state, "cam")[1].anomalies == ()


def test_a_silent_camera_has_the_same_ends_before_and_with_its_next_frame():
    rules = ready(YARD, QUEUE)
    state, _ = run(RulesState(), film({1: stands(0.3, 0.5), 2: stands(0.6, 0.5)}, 5), rules)
    _, before = end_camera(state, "cam")
    _, at_the_frame = apply_rules(state, later(60), rules)
    assert before.transitions == at_the_frame.transitions


def test_a_changed_rule_ends_its_incidents_and_starts_with_the_next_frame():
    state, first = run(RulesState(), film({7: stands(0.5, 0.5)}, 5), ready(YARD, WAIT))
    changed = ready({**YARD, "severity": "alarm"}, WAIT)
    state, judgement = apply_rules(state, later(5.2, 7), changed)
    assert reported(judgement.transitions) == [("end", (7,), 5.0, "rule_changed")]
    assert judgement.transitions[0].severity == "warning"  # it ends as what it was
    state, second = run(state, [later(5.2 + n / FPS, 7) for n in range(1, 80)], changed)
    assert [(one.rule, one.state, (one.started_ms - START_MS) / 1000) for one in second] == [
        ("yard", "new", 5.2),
        ("wait", "new", 0.0),  # the rule that did not change has kept its state
    ]
    assert second[0].severity == "alarm"
    assert first[0].anomaly_id == judgement.transitions[0].anomaly_id != second[0].anomaly_id


def test_a_rule_that_is_given_to_other_cameras_as_well_keeps_its_state():
    state, _ = run(RulesState(), film({7: stands(0.5, 0.5)}, 5), ready(YARD))
    _, judgement = apply_rules(state, later(5.2, 7), ready({**YARD, "cameras": ["cam", "other"]}))
    assert [one.state for one in judgement.anomalies] == ["active"]


@pytest.mark.parametrize("rules", [ready(), ready({**YARD, "cameras": ["other"]}), ready({**YARD, "id": "field"})])
def test_a_removed_rule_ends_its_incidents(rules: CameraRules):
    state, _ = run(RulesState(), film({7: stands(0.5, 0.5)}, 5), ready(YARD))
    state, judgement = apply_rules(state, later(5.2, 7), rules)
    assert reported(judgement.transitions) == [("end", (7,), 5.0, "rule_changed")]
    assert "yard" not in state.rules


def test_the_order_of_the_rules_changes_nothing_but_the_order():
    queue = {**QUEUE, "start_after": 0.5}
    scene = list(film({1: stands(0.3, 0.5), 2: stands(0.6, 0.5)}, 30))
    _, one = run(RulesState(), scene, ready(YARD, queue, WAIT))
    _, other = run(RulesState(), scene, ready(WAIT, queue, YARD))
    assert one != other
    assert sorted(one, key=lambda each: each.anomaly_id) == sorted(other, key=lambda each: each.anomaly_id)


@pytest.mark.parametrize("seconds", [5.0, 4.0])
def test_a_frame_that_is_not_later_changes_nothing(seconds: float):
    rules = ready(YARD)
    state, _ = run(RulesState(), film({7: stands(0.5, 0.5)}, 5), rules)
    after, judgement = apply_rules(state, later(seconds, 7, 8), rules)
    assert after is state
    assert judgement.anomalies == ()


def test_another_resolution_changes_nothing():
    frames = list(film({7: drives(0.3, 0.5, 0.1)}, 4, fps=2))
    rule = {"type": "line_crossing", "line": [[0.5, 0.9], [0.5, 0.1]]}
    halved = [
        one
        if number < 4
        else replace(
            one,
            width=one.width // 2,
            height=one.height // 2,
            objects=tuple(seen._replace(bbox=tuple(side / 2 for side in seen.bbox)) for seen in one.objects),
        )
        for number, one in enumerate(frames)
    ]
    assert judged(rule, halved) == judged(rule, frames) != []


def test_timers_of_a_slow_camera_follow_its_own_interval():
    """A frame every two seconds: max_gap is six, so that twenty seconds are eleven frames."""
    scene = film({7: stands(0.5, 0.5)}, 60, fps=0.5)
    assert judged(WAIT, scene)[0].value == pytest.approx(22, abs=4)  # the first intervals count one second each


def test_a_rule_can_have_its_own_gap():
    scene = list(film({7: stands(0.5, 0.5)}, 30, fps=1))
    assert judged({**WAIT, "max_gap": 0.5}, scene) == []
    assert len(judged(WAIT, scene)) == 1


def test_an_incident_that_goes_on_is_reported_with_every_frame():
    rules = ready(YARD)
    state, _ = run(RulesState(), film({7: stands(0.5, 0.5)}, 5), rules)
    _, judgement = apply_rules(state, later(5.2, 7), rules)
    (one,) = judgement.anomalies
    assert (one.state, one.value, one.is_transition, judgement.anomaly_type) == ("active", 5.2, False, "intrusion")


def test_the_type_of_the_frame_is_that_of_the_most_severe():
    rules = ready(YARD, {**QUEUE, "severity": "alarm"}, {**YARD, "id": "other", "severity": "info"})
    state, _ = run(RulesState(), film({1: stands(0.3, 0.5)}, 5), rules)
    state, judgement = apply_rules(state, later(5.2, 1, 2), rules)
    assert judgement.anomaly_type == "intrusion"
    for number in range(6):
        state, judgement = apply_rules(state, later(5.4 + number / FPS, 1, 2), rules)
    assert judgement.anomaly_type == "crowd"
    assert dict(judgement.zone_objects or {}) == {"queue": 2}
    state, judgement = apply_rules(state, later(100), rules)  # all have ended
    assert judgement.anomaly_type is None


def test_a_track_id_that_a_frame_has_twice_is_its_first_objects():
    frames = [frame_at(n / FPS, [("car", 7, 0.5, 0.8), ("car", 7, 0.5, 0.2)]) for n in range(10)]
    assert reported(judged({**YARD, "zone": LOWER_HALF}, frames)) == [("new", (7,), 0.0)]
