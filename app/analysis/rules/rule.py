"""Rule: one rule, ready to be applied to frames; and what the rules are given of a frame."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from app.analysis.rules.anomaly import Anomaly, Reason, State, make_anomaly_id
from app.analysis.rules.geometry import Area
from app.analysis.rules.machine import Timing
from app.analysis.rules.schedule import Schedule
from app.analysis.rules.state import ACTIVE, ENDING, Key, RuleState, Sample, Subject, Track
from app.analysis.rules.tracks import mean_confidence
from app.settings.rules import RuleFields

S = TypeVar("S", bound=RuleFields)
UPDATE_MS = 30_000
"""Between two updates of an incident."""
JUMP_MS = 5_000
"""Between two updates of which the second tells a value that changed much."""
_JUMP = 0.5
"""A value that changed by so much of itself changed much."""
_HEIGHTS = {"bottom_center": 1.0, "any": 1.0, "center": 0.5, "top_center": 0.0}


@dataclass(slots=True)
class FrameView:
    """What the rules are given of one frame, and where they put what happened."""

    camera_id: str
    now_ms: int
    before_ms: int
    """The frame before; NEVER: there is none."""
    step_ms: int
    """Since the frame before."""
    max_gap_ms: int
    """By how much a timer advances at most, unless its rule has its own limit."""
    aspect: float
    """Width by height of the frame."""
    tracks: dict[int, Track]
    """All that are not lost; whose last sample is older is not seen in this frame."""
    lost: Mapping[int, tuple[Reason, int]]
    """Why a track is lost, and when it was last seen."""
    untracked: Sequence[tuple[str, Sample]]
    """Objects of this frame without a track."""
    anomalies: list[Anomaly] = field(default_factory=list)
    zone_objects: dict[str, int] = field(default_factory=dict)
    """Objects in the zone, by rules about zones."""


class Rule(ABC, Generic[S]):
    """One rule."""

    TYPE: ClassVar[str]
    JUMPS: ClassVar[bool] = False
    """Whether a value that changes much is told at once: a count, not a duration."""

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
        self.empty = RuleState(self.fingerprint, self.TYPE, settings.severity, self.zone, None, None, {})
        """The state of the rule when it has seen no frame."""
        self._max_gap_ms = None if settings.max_gap is None else round(settings.max_gap * 1000)
        self._areas: dict[float, Area] = {}

    @abstractmethod
    def judge(self, frame: FrameView, subjects: Mapping[Key, Subject]) -> dict[Key, Subject]:
        """Return what is remembered of the subjects after a frame; put what happened into ``frame.anomalies``."""

    def step_ms(self, frame: FrameView) -> int:
        """Return by how much timers advance with a frame."""
        return min(frame.step_ms, frame.max_gap_ms if self._max_gap_ms is None else self._max_gap_ms)

    def admits(self, label: str, height: float) -> bool:
        """Return whether the rule is about objects of a class and a height (in heights of the frame)."""
        return (not self.classes or label in self.classes) and height >= self.settings.min_height

    def admits_track(self, track: Track) -> bool:
        """Return whether the rule is about a track, as it was last seen."""
        least = self.settings.min_confidence
        return self.admits(track.label, track.samples[-1].height) and (
            not least or mean_confidence(track) >= least - 1e-9
        )

    def is_inside(self, frame: FrameView, sample: Sample, was_inside: bool) -> bool:
        """Return whether an object is in the zone; without a zone, everything is."""
        zone = self.settings.zone
        if zone is None:
            return True
        area = self._areas.get(frame.aspect)
        if area is None:
            if len(self._areas) >= 8:  # cameras keep their format; this bounds what a strange one costs
                self._areas.clear()
            area = self._areas[frame.aspect] = Area(zone.points, frame.aspect, self.settings.margin)
        if self.settings.anchor == "any":
            left = sample.x - sample.width / 2
            share = area.share(left, sample.top, sample.width, sample.height, was_inside)
            return share >= self.settings.overlap - 1e-9
        return area.contains(sample.x, sample.top + self.anchor_share * sample.height, was_inside)

    def settle(
        self,
        frame: FrameView,
        key: Key,
        before: Subject,
        after: Subject,
        value: float | None,
        tracks: Sequence[tuple[int, str]] | None,
    ) -> Subject:
        """Publish what became of a subject.

        Args:
            frame: where it is put.
            key: the subject.
            before: the subject before the frame.
            after: the subject after it.
            value: what the type measures in this frame; None: the seconds since the start.
            tracks: ids and classes of the tracks it is about; None: those it was about.

        Returns:
            The subject with what was published.
        """
        if after.status < ACTIVE:
            if before.status >= ACTIVE:
                if value is None:
                    before = before._replace(value=(after.ended_ms - before.since_ms) / 1000)
                frame.anomalies.append(
                    make_anomaly(frame.camera_id, self.id, self.empty, before, "end", ended_ms=after.ended_ms)
                )
            return after
        now_ms = frame.now_ms
        if value is None:
            value = ((now_ms if after.status == ACTIVE else after.false_at_ms) - after.since_ms) / 1000
        elif after.status == ENDING:
            value = after.value
        track_ids, labels = after.track_ids, after.labels
        if tracks is not None and after.status == ACTIVE:
            track_ids = tuple([track_id for track_id, _ in tracks])
            labels = tuple(sorted({label for _, label in tracks}))
        published_ms, published = after.published_ms, after.published_value
        anomaly_id = after.anomaly_id
        state: State = "active"
        if before.status < ACTIVE:
            anomaly_id = make_anomaly_id(frame.camera_id, self.id, key, after.since_ms)
            state = "new"
        elif now_ms - published_ms >= UPDATE_MS or (
            self.JUMPS and now_ms - published_ms >= JUMP_MS and changed_much(published, value)
        ):
            state = "update"
        if state != "active":
            published_ms, published = now_ms, value
        settled = Subject(
            after.status,
            after.since_ms,
            after.held_ms,
            after.false_ms,
            after.false_at_ms,
            after.ended_ms,
            anomaly_id,
            published_ms,
            published,
            value,
            track_ids,
            labels,
            after.memory,
        )
        frame.anomalies.append(make_anomaly(frame.camera_id, self.id, self.empty, settled, state))
        return settled

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
    *,
    ended_ms: int | None = None,
    reason: Reason | None = None,
) -> Anomaly:
    """Return a subject's incident as it is published."""
    return Anomaly(
        anomaly_id=subject.anomaly_id,
        camera_id=camera_id,
        rule=rule_id,
        type=rule.type,
        severity=rule.severity,
        state=state,
        started_ms=subject.since_ms,
        ended_ms=ended_ms,
        reason=reason,
        track_ids=subject.track_ids,
        classes=subject.labels,
        zone=rule.zone,
        line=rule.line,
        direction=rule.direction,
        value=None if subject.value is None else round(subject.value, 3),
    )


def end_anomaly(
    camera_id: str, rule_id: str, rule: RuleState, subject: Subject, reason: Reason, ended_ms: int
) -> Anomaly:
    """Return the end of an incident for another reason than its condition; it ended no later than that held."""
    if subject.status == ENDING:
        ended_ms = min(ended_ms, subject.false_at_ms)
    return make_anomaly(camera_id, rule_id, rule, subject, "end", ended_ms=ended_ms, reason=reason)
