"""What holds for any scene: one new and one end an incident, the same result again and over a restart."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from app.analysis.rules.anomaly import Anomaly
from app.analysis.rules.engine import apply_rules, end_camera, make_camera_rules
from app.analysis.rules.example import frame_at
from app.analysis.rules.frame import Frame
from app.analysis.rules.state import RulesState, decode_state, encode_state
from app.settings.rule_lists import parse_rules
from tests.unit.analysis.rules.scenes import ALL, LOWER_HALF

RULES = make_camera_rules(
    parse_rules(
        [
            {"id": "1", "type": "intrusion", "zone": LOWER_HALF, "anchor": "any"},
            {"id": "2", "type": "loitering", "zone": LOWER_HALF, "dwell": 2, "mode": "total", "window": 6},
            {"id": "3", "type": "line_crossing", "line": [[0.5, 1], [0.5, 0]]},
            {"id": "4", "type": "wrong_way", "direction": [[0, 0], [1, 0]], "start_after": 0.2},
            {"id": "5", "type": "stopped", "dwell": 1, "include_parked": True},
            {"id": "6", "type": "congestion", "zone": ALL, "count": 2, "start_after": 1, "end_after": 0},
            {"id": "7", "type": "crowd", "zone": LOWER_HALF, "count": 2, "start_after": 0, "end_after": 0},
            {"id": "8", "type": "class_count", "zone": ALL, "counts": {"car": ">=1", "person": "==0"}},
            {"id": "9", "type": "absent", "zone": LOWER_HALF, "start_after": 2, "cooldown": 3},
            {
                "id": "10",
                "type": "speed",
                "ground": {"points": ALL, "metres": [[0, 0], [50, 0], [50, 50], [0, 50]]},
                "limit": 20,
            },
            {"id": "11", "type": "proximity", "distance": 2, "start_after": 0.4, "cooldown": 1},
            {"id": "12", "type": "abandoned", "classes": ["car"], "dwell": 1},
        ]
    ),
    "cam",
)


def scene_of(seed: int, length: int) -> list[Frame]:
    """Return frames of objects that walk, stand, vanish and change their class, with gaps of all lengths."""
    rng = random.Random(seed)
    now, frames = 0.0, []
    objects = {track: [rng.random(), rng.random(), 0.0, 0.0] for track in range(rng.randint(0, 5))}
    for _ in range(length):
        now += rng.choice(
            [0.2, 0.2, 0.2, 0.2, 0.4, 1.0, 3.0 if rng.random() < 0.2 else 0.2, 40.0 if rng.random() < 0.02 else 0.2]
        )
        if rng.random() < 0.05:
            objects[100 + len(frames)] = [rng.random(), rng.random(), 0.0, 0.0]
        for one in objects.values():
            if rng.random() < 0.1:
                one[2], one[3] = rng.choice([(0.0, 0.0), (rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.2))])
            one[0], one[1] = min(1.0, max(0.0, one[0] + one[2] * 0.2)), min(1.0, max(0.0, one[1] + one[3] * 0.2))
        boxes = [
            (rng.choice(["car", "car", "car", "person"]), None if rng.random() < 0.1 else track, one[0], one[1])
            for track, one in objects.items()
            if rng.random() < 0.9
        ]
        frames.append(frame_at(now, boxes))
    return frames


scenes = st.builds(scene_of, st.integers(0, 10**6), st.integers(1, 70))


def run(frames: Sequence[Frame], state: RulesState | None = None) -> tuple[RulesState, list[Anomaly]]:
    state = state or RulesState()
    found: list[Anomaly] = []
    for frame in frames:
        state, judgement = apply_rules(state, frame, RULES)
        found += judgement.transitions
    return state, found


@settings(max_examples=12, deadline=None)
@given(scenes)
def test_every_incident_has_one_new_then_updates_then_one_end(frames: list[Frame]):
    state, found = run(frames)
    found += end_camera(state, "cam")[1].transitions
    lives: dict[str, list[str]] = {}
    for one in found:
        lives.setdefault(one.anomaly_id, []).append(one.state)
    for life in lives.values():
        assert life == ["instant"] or (life[0], life[-1], Counter(life)["new"], Counter(life)["end"]) == (
            "new",
            "end",
            1,
            1,
        )
    for one in found:
        assert one.ended_ms is None or one.started_ms <= one.ended_ms <= frames[-1].time_ms
        assert (one.ended_ms is not None) == (one.state in ("end", "instant"))


@settings(max_examples=10, deadline=None)
@given(scenes, st.integers(0, 120))
def test_a_restart_between_any_two_frames_changes_nothing(frames: list[Frame], cut: int):
    whole_state, whole = run(frames)
    state, first = run(frames[:cut])
    before = encode_state(state)
    again, second = run(frames[cut:], decode_state(before))
    assert first + second == whole
    assert encode_state(again) == encode_state(whole_state)
    assert encode_state(state) == before  # what came after has not changed it


@settings(max_examples=10, deadline=None)
@given(scenes, st.randoms(use_true_random=False))
def test_frames_that_come_twice_or_late_change_nothing(frames: list[Frame], rng: random.Random):
    repeated = []
    for number, frame in enumerate(frames):
        repeated.append(frame)
        if rng.random() < 0.3:
            repeated.append(frames[rng.randint(0, number)])
    assert run(repeated)[1] == run(frames)[1]


@settings(max_examples=8, deadline=None)
@given(scenes)
def test_what_is_remembered_does_not_grow_without_end(frames: list[Frame]):
    state, _ = run(frames)
    for rule in state.rules.values():
        for key in rule.subjects:
            assert set(key) <= set(state.tracks)
    assert len(encode_state(state)) < 2000 + 3000 * len(state.tracks) + 200 * len(state.tracks) ** 2
