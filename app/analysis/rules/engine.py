"""Apply the rules of a camera to its next frame: a pure function, whose only clock is capture time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.analysis.rules.abandoned import AbandonedRule
from app.analysis.rules.absent import AbsentRule
from app.analysis.rules.anomaly import Anomaly, Reason
from app.analysis.rules.class_count import ClassCountRule
from app.analysis.rules.congestion import CongestionRule
from app.analysis.rules.crowd import CrowdRule
from app.analysis.rules.frame import Frame
from app.analysis.rules.intrusion import IntrusionRule
from app.analysis.rules.line_crossing import LineCrossingRule
from app.analysis.rules.loitering import LoiteringRule
from app.analysis.rules.proximity import ProximityRule
from app.analysis.rules.rule import FrameView, Rule, end_anomaly
from app.analysis.rules.speed import SpeedRule
from app.analysis.rules.state import ACTIVE, NEVER, Key, RulesState, RuleState, Sample, Track, make_sample
from app.analysis.rules.stopped import StoppedRule
from app.analysis.rules.tracks import begin_track, follow_track
from app.analysis.rules.wrong_way import WrongWayRule
from app.settings.rule_lists import rules_of_camera
from app.settings.rules import SEVERITIES, RuleFields
from app.settings.tracking import TrackingSettings

LOST_AFTER_S = TrackingSettings().lost_after
"""A track that is not seen for longer is lost, unless ``tracking.lost_after`` says otherwise."""
CAMERA_LOST_MS = 30_000
"""A camera without a frame for longer is lost: what was in its zones may no longer be there."""
MAX_GAP_MS = 1000
_INTERVALS = 9
"""Intervals between frames of which the median is the camera's own."""

_TYPES: tuple[type[Rule[Any]], ...] = (
    IntrusionRule,
    LoiteringRule,
    LineCrossingRule,
    WrongWayRule,
    StoppedRule,
    CongestionRule,
    CrowdRule,
    ClassCountRule,
    AbsentRule,
    SpeedRule,
    ProximityRule,
    AbandonedRule,
)
_BY_TYPE: Mapping[str, type[Any]] = {one.TYPE: one for one in _TYPES}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of one frame."""

    anomalies: tuple[Anomaly, ...] = ()
    """Transitions, and incidents that go on; rule by rule."""
    zone_objects: Mapping[str, int] | None = None
    """Objects in the zone, by the id of each rule about a zone; None: the frame was not judged."""

    @property
    def transitions(self) -> tuple[Anomaly, ...]:
        """What is published to the topic of anomalies."""
        return tuple(one for one in self.anomalies if one.is_transition)

    @property
    def anomaly_type(self) -> str | None:
        """The type of the most severe of those that go on or are momentary; the first rule's among equals."""
        current = [one for one in self.anomalies if one.state != "end"]
        return max(current, key=lambda one: SEVERITIES.index(one.severity)).type if current else None


@dataclass(frozen=True, slots=True)
class CameraRules:
    """The rules of one camera, ready to be applied."""

    rules: tuple[Rule[Any], ...] = ()
    lost_ms: int = round(LOST_AFTER_S * 1000)
    """A track that is not seen for longer is lost."""


def make_camera_rules(rules: Iterable[RuleFields], camera_id: str, lost_after: float = LOST_AFTER_S) -> CameraRules:
    """Return those of the rules that name a camera, ready to be applied to its frames.

    Args:
        rules: any.
        camera_id: the camera.
        lost_after: seconds of capture time, as ``tracking.lost_after``.
    """
    ready = tuple(_BY_TYPE[_type_of(one)](one) for one in rules_of_camera(rules, camera_id))
    return CameraRules(ready, round(lost_after * 1000))


def apply_rules(
    state: RulesState, frame: Frame, rules: CameraRules, *, tells_active: bool = True
) -> tuple[RulesState, Judgement]:
    """Return a camera's state after one more frame, and what happened.

    Neither argument is changed, and the same arguments give the same result. A frame that is not later than the last
    one changes nothing. Timers advance by no more than a rule's ``max_gap`` a frame; without one, by no more than
    max(1 s, 3 × the median of the last nine intervals between frames).

    Args:
        state: what the frame before left; ``RulesState()`` before the first.
        frame: the frame, as its event publishes it.
        rules: those of the camera; what the state has of other rules, or of other forms of them, ends.
        tells_active: whether incidents of which there is nothing new are wanted as well.
    """
    if frame.time_ms <= state.time_ms or frame.width <= 0 or frame.height <= 0:
        return state, Judgement()
    now_ms, camera_id = frame.time_ms, frame.camera_id
    anomalies: list[Anomaly] = []
    known = _end_changed(state, rules, camera_id, anomalies)
    gap_ms = 0 if state.time_ms == NEVER else now_ms - state.time_ms
    intervals = (*state.intervals[1 - _INTERVALS :], gap_ms) if gap_ms else state.intervals
    usual_ms = sorted(intervals)[len(intervals) // 2] if len(intervals) >= 3 else min(gap_ms, MAX_GAP_MS // 3)
    tracks: Mapping[int, Track] = state.tracks
    if gap_ms > max(CAMERA_LOST_MS, 3 * usual_ms):
        for rule_id, one in known.items():
            anomalies += _end_all(camera_id, rule_id, one, "camera_lost", state)
        known, tracks, intervals = {}, {}, ()
    lost = _lost(tracks, state.time_ms, now_ms, max(rules.lost_ms, 3 * usual_ms))
    followed, untracked = _follow(frame, tracks, lost)
    seen: list[tuple[Key, Track, Sample]] = []
    unseen: list[tuple[Key, Track]] = []
    for track_id, track in followed.items():
        sample = track.samples[-1]
        if sample.time_ms == now_ms:
            seen.append(((track_id,), track, sample))
        else:
            unseen.append(((track_id,), track))
    view = FrameView(
        camera_id=camera_id,
        now_ms=now_ms,
        step_ms=gap_ms,
        max_gap_ms=max(MAX_GAP_MS, 3 * usual_ms),
        intervals=intervals,
        usual_ms=usual_ms,
        aspect=frame.width / frame.height,
        tracks=followed,
        seen=seen,
        unseen=unseen,
        lost=lost,
        untracked=untracked,
        tells_active=tells_active,
        anomalies=anomalies,
    )
    after: dict[str, RuleState] = {}
    for rule in rules.rules:
        before = known.get(rule.id)
        subjects = rule.judge(view, before.subjects if before else {})
        after[rule.id] = RuleState(*rule.empty[:-1], subjects)
    return RulesState(now_ms, intervals, followed, after), Judgement(tuple(anomalies), view.zone_objects)


def end_camera(state: RulesState, camera_id: str) -> tuple[RulesState, Judgement]:
    """Return the state of a camera that was removed or is silent for too long, and the ends of its incidents.

    A camera whose next frame comes after ``CAMERA_LOST_MS`` had the same ends, so they can be published before it.
    """
    ends = [
        end for rule_id, one in state.rules.items() for end in _end_all(camera_id, rule_id, one, "camera_lost", state)
    ]
    return RulesState(state.time_ms), Judgement(tuple(ends))


def _type_of(rule: RuleFields) -> str:
    kind: str = rule.type  # type: ignore[attr-defined]
    return kind


def _end_changed(
    state: RulesState, rules: CameraRules, camera_id: str, anomalies: list[Anomaly]
) -> dict[str, RuleState]:
    """Return the states of the rules that are as they were; end the incidents of the others."""
    present = {rule.id: rule.fingerprint for rule in rules.rules}
    kept = {}
    for rule_id, one in state.rules.items():
        if present.get(rule_id) == one.fingerprint:
            kept[rule_id] = one
        else:
            anomalies += _end_all(camera_id, rule_id, one, "rule_changed", state)
    return kept


def _end_all(camera_id: str, rule_id: str, rule: RuleState, reason: Reason, state: RulesState) -> Sequence[Anomaly]:
    """Return the ends of a rule's incidents, at the last frame that saw their subjects."""
    return [
        end_anomaly(camera_id, rule_id, rule, subject, reason, _seen_ms(key, state))
        for key, subject in rule.subjects.items()
        if subject.status >= ACTIVE
    ]


def _seen_ms(key: Key, state: RulesState) -> int:
    seen = [state.tracks[track_id].samples[-1].time_ms for track_id in key if track_id in state.tracks]
    return min(seen, default=state.time_ms)


def _lost(tracks: Mapping[int, Track], before_ms: int, now_ms: int, lost_ms: int) -> dict[int, tuple[Reason, int]]:
    reason: Reason = "camera_lost" if now_ms - before_ms > lost_ms else "track_lost"
    lost = {}
    for track_id, track in tracks.items():
        seen_ms = track.samples[-1].time_ms
        if now_ms - seen_ms > lost_ms:
            lost[track_id] = (reason, seen_ms)
    return lost


def _follow(
    frame: Frame, tracks: Mapping[int, Track], lost: Mapping[int, object]
) -> tuple[dict[int, Track], list[tuple[str, Sample]]]:
    """Return the tracks that are not lost, with their samples of this frame, and the objects without a track."""
    followed = {track_id: track for track_id, track in tracks.items() if track_id not in lost} if lost else dict(tracks)
    untracked = []
    now_ms, height = frame.time_ms, frame.height
    for label, confidence, (x, y, box_width, box_height), track_id in frame.objects:
        sample = make_sample(
            (now_ms, (x + box_width / 2) / height, y / height, box_width / height, box_height / height, confidence)
        )
        if track_id is None:
            untracked.append((label, sample))
            continue
        track = followed.get(track_id)
        if track is None:
            followed[track_id] = begin_track(label, sample)
        elif track.samples[-1].time_ms != now_ms:  # an id that a frame has twice is its first object's
            followed[track_id] = follow_track(track, label, sample)
    return followed, untracked
