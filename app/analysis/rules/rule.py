"""Rule: one rule, ready to be applied to frames; and what the rules are given of a frame."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from app.analysis.rules.anomaly import Anomaly, Reason, State, make_anomaly_id, make_from_all
from app.analysis.rules.geometry import Area
from app.analysis.rules.machine import Timing
from app.analysis.rules.schedule import Schedule
from app.analysis.rules.state import ACTIVE, ENDING, Incident, Key, RuleState, Sample, Subject, Track
from app.analysis.rules.tracks import mean_confidence
from app.settings.rules import RuleFields

S = TypeVar("S", bound=RuleFields)
UPDATE_MS = 30_000
"""Between two updates of an incident."""
JUMP_MS = 5_000
"""Between two updates of which the second reports a value that changed much."""
_JUMP = 0.5
"""A value that changed by so much of itself changed much."""
Bounds = tuple[float, float, float, float]
_EVERYWHERE: Bounds = (-math.inf, math.inf, -math.inf, math.inf)
_HEIGHTS = {"bottom_center": 1.0, "any": 1.0, "center": 0.5, "top_center": 0.0}


@dataclass(slots=True)
class FrameView:
    """What the rules are given of one frame, and where they put what happened."""

    camera_id: str
    now_ms: int
    step_ms: int
    """Since the frame before."""
    max_gap_ms: int
    """By how much a timer advances at most, unless its rule has its own limit."""
    intervals: Sequence[int]
    """Between the last frames, oldest first."""
    usual_ms: int
    """The median of them."""
    aspect: float
    """Width by height of the frame."""
    tracks: dict[int, Track]
    """All that are not lost; whose last sample is older is not seen in this frame."""
    seen: Sequence[tuple[Key, Track, Sample]]
    """Those that are seen in this frame, with their subject and their sample of this frame."""
    unseen: Sequence[tuple[Key, Track]]
    """The others."""
    lost: Mapping[int, tuple[Reason, int]]
    """Why a track is lost, and when it was last seen."""
    untracked: Sequence[tuple[str, Sample]]
    """Objects of this frame without a track."""
    tells_active: bool = True
    """Whether incidents of which there is nothing new are wanted."""
    anomalies: list[Anomaly] = field(default_factory=list)
    zone_objects: dict[str, int] = field(default_factory=dict)
    """Objects in the zone, by rules about zones."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What a rule finds once a frame for all of its subjects, by rule."""


class Rule(ABC, Generic[S]):
    """One rule."""

    TYPE: ClassVar[str]
    JUMPS: ClassVar[bool] = False
    """Whether a value that changes much is reported at once: a count, not a duration."""

    def __init__(self, settings: S, *, start: float, end: float) -> None:
        """Take the rule's settings, and for how many seconds its condition must hold, and not hold."""
        self.settings = settings
        self.id = settings.id
        self.timing = Timing(
            start_ms=round(start * 1000),
            end_ms=round(end * 1000),
            flicker_ms=round(settings.flicker * 1000),
            cooldown_ms=round(settings.cooldown * 1000),
            schedule=Schedule(settings.schedule),
        )
        kept = settings.model_dump_json(exclude={"cameras"})  # another camera's joining changes nothing for this one
        self.fingerprint = hashlib.sha256(kept.encode()).hexdigest()[:16]
        self.anchor_share = _HEIGHTS[settings.anchor]
        """Where in the box the anchor is: 0 at the top, 1 at the bottom."""
        self.classes = frozenset(settings.classes)
        self.zone = (settings.zone.name or settings.id) if settings.zone else None
        self.empty = RuleState(self.fingerprint, self.TYPE, settings.severity, self.zone, None, {})
        """The state of the rule when it has seen no frame."""
        self._max_gap_ms = None if settings.max_gap is None else round(settings.max_gap * 1000)
        self.admits_all = not (self.classes or settings.min_height or settings.min_confidence)
        self._by_share = settings.anchor == "any"
        self._area: Area | None = None
        self._aspect = 0.0  # of the area: a camera keeps its format, as a rule

    @abstractmethod
    def judge(self, frame: FrameView, subjects: Mapping[Key, Subject]) -> dict[Key, Subject]:
        """Return what is remembered of the subjects after a frame; put what happened into ``frame.anomalies``."""

    def step_ms(self, frame: FrameView) -> int:
        """Return by how much timers advance with a frame."""
        return min(frame.step_ms, frame.max_gap_ms if self._max_gap_ms is None else self._max_gap_ms)

    def unseen_ms(self, frame: FrameView) -> int:
        """Return by how much the time advances for which a track is unseen: frames that were dropped are no absence."""
        return min(self.step_ms(frame), frame.usual_ms)

    def still_seen_ms(self, frame: FrameView) -> int:
        """Return since when a track must have been seen to be unseen for no longer than ``flicker``."""
        since_ms, unseen_ms = frame.now_ms, 0
        for interval_ms in reversed(frame.intervals):
            unseen_ms += min(interval_ms, frame.usual_ms)
            if unseen_ms > self.timing.flicker_ms:
                return since_ms
            since_ms -= interval_ms
        return min(since_ms, frame.now_ms - self.timing.flicker_ms)

    def admits(self, label: str, height: float) -> bool:
        """Return whether the rule is about objects of a class and a height (in heights of the frame)."""
        return (not self.classes or label in self.classes) and height >= self.settings.min_height

    def admits_track(self, track: Track) -> bool:
        """Return whether the rule is about a track, as it was last seen."""
        if self.admits_all:
            return True
        least = self.settings.min_confidence
        return self.admits(track.label, track.samples[-1].height) and (
            not least or mean_confidence(track) >= least - 1e-9
        )

    def area_in(self, frame: FrameView) -> Area | None:
        """Return the zone in the frame's format, if the rule has one."""
        if frame.aspect != self._aspect:
            zone = self.settings.zone
            self._area = Area(zone.points, frame.aspect, self.settings.margin) if zone else None
            self._aspect = frame.aspect
        return self._area

    def bounds_in(self, frame: FrameView) -> Bounds:
        """Return the left, right, top and bottom beyond which no anchor is in the zone; without a zone: infinite."""
        area = self.area_in(frame)
        return _EVERYWHERE if area is None or self._by_share else area.bounds

    def is_inside(self, frame: FrameView, sample: Sample, was_inside: bool) -> bool:
        """Return whether an object is in the zone; without a zone, everything is."""
        area = self._area if frame.aspect == self._aspect else self.area_in(frame)
        if area is None:
            return True
        _, x, top, width, height, _ = sample
        if self._by_share:
            share = area.share(x - width / 2, top, width, height, was_inside)
            return share >= self.settings.overlap - 1e-9
        return area.contains(x, top + self.anchor_share * height, was_inside)

    def settle(
        self,
        frame: FrameView,
        key: Key,
        before: Subject,
        after: Subject,
        value: float | None,
        tracks: Sequence[tuple[int, str]],
    ) -> Subject:
        """Publish what became of a subject that has, or had, an incident.

        Args:
            frame: where it is put.
            key: the subject.
            before: the subject before the frame.
            after: the subject after it.
            value: what the type measures in this frame; None: the seconds since the start.
            tracks: ids and classes of the tracks it is about.

        Returns:
            The subject with what was published.
        """
        if after.status < ACTIVE:
            frame.anomalies.append(end_anomaly(frame.camera_id, self.id, self.empty, before, None, after.ended_ms))
            return after
        now_ms, incident = frame.now_ms, after.incident
        if incident is not None and after.status == ENDING:
            track_ids, labels, value = incident.track_ids, incident.labels, incident.value
        else:
            if len(tracks) == 1:
                ((track_id, label),) = tracks
                track_ids, labels = (track_id,), (label,)
            else:
                track_ids = tuple([track_id for track_id, _ in tracks])
                labels = tuple(sorted({label for _, label in tracks}))
        shown = value
        if shown is None:
            shown = ((after.false_at_ms if after.status == ENDING else now_ms) - after.since_ms) / 1000
        state: State = "active"
        if incident is None:
            state = "new"
            anomaly_id = make_anomaly_id(frame.camera_id, self.id, key, after.since_ms)
            incident = Incident(anomaly_id, now_ms, shown, value, track_ids, labels)
        elif now_ms - incident.published_ms >= UPDATE_MS or (
            self.JUMPS and now_ms - incident.published_ms >= JUMP_MS and changed_much(incident.published_value, shown)
        ):
            state = "update"
            incident = Incident(incident.anomaly_id, now_ms, shown, value, track_ids, labels)
        elif value != incident.value or track_ids != incident.track_ids or labels != incident.labels:
            incident = Incident(*incident[:3], value, track_ids, labels)
        if incident is not after.incident:
            after = Subject(*after[:-2], incident, after.memory)
        if state != "active" or frame.tells_active:
            frame.anomalies.append(make_anomaly(frame.camera_id, self.id, self.empty, after, state, shown))
        return after

    def end_lost(self, frame: FrameView, subjects: Mapping[Key, Subject]) -> Mapping[Key, Subject]:
        """Return the subjects without those of lost tracks, whose incidents end when they were last seen."""
        lost = frame.lost
        if not lost or not subjects:
            return subjects
        kept: dict[Key, Subject] = {}
        for key, subject in subjects.items():
            gone = [track_id for track_id in key if track_id in lost]
            if not gone:
                kept[key] = subject
            elif subject.status >= ACTIVE:
                reason, seen_ms = min((lost[track_id] for track_id in gone), key=lambda one: one[1])
                frame.anomalies.append(end_anomaly(frame.camera_id, self.id, self.empty, subject, reason, seen_ms))
        return kept


def changed_much(published: float | None, value: float | None) -> bool:
    """Return whether a value differs much from the one published last."""
    if published is None or value is None:
        return published is not value
    return abs(value - published) >= max(abs(published) * _JUMP, 1e-9)


def make_anomaly(
    camera_id: str,
    rule_id: str,
    rule: RuleState,
    subject: Subject,
    state: State,
    value: float,
    ended_ms: int | None = None,
    reason: Reason | None = None,
) -> Anomaly:
    """Return a subject's incident as it is published."""
    incident = subject.incident
    assert incident is not None
    anomaly_id, _, _, _, track_ids, labels = incident
    _, kind, severity, zone, line, _ = rule
    return make_from_all(
        (
            anomaly_id,
            camera_id,
            rule_id,
            kind,
            severity,
            state,
            subject.since_ms,
            ended_ms,
            reason,
            track_ids,
            labels,
            zone,
            line,
            None,
            round(value, 3),
        )
    )


def end_anomaly(
    camera_id: str, rule_id: str, rule: RuleState, subject: Subject, reason: Reason | None, ended_ms: int
) -> Anomaly:
    """Return the end of a subject's incident, which is no later than its condition last held."""
    if subject.status == ENDING:
        ended_ms = min(ended_ms, subject.false_at_ms)
    value = subject.incident.value if subject.incident else None
    if value is None:
        value = (ended_ms - subject.since_ms) / 1000
    return make_anomaly(camera_id, rule_id, rule, subject, "end", value, ended_ms, reason)
