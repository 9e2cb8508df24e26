"""TrackRule: a rule whose incidents are about one track each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from app.analysis.rules.machine import advance
from app.analysis.rules.motion import begin_stay, follow_stay
from app.analysis.rules.rule import FrameView, Rule, S
from app.analysis.rules.state import ACTIVE, HOLDING, IDLE, NEVER, PENDING, Key, Sample, Subject, Track, make_subject

BLANK = Subject()


class Hints(NamedTuple):
    """What a type of rule says of the time of a condition."""

    ready: bool | None = None
    """Whether it has held for long enough; None: by the rule's times."""
    restarts: bool = False
    """Whether what was pending begins again with this frame."""
    began_ms: int | None = None
    """When a condition that begins to hold with this frame began; None: with this frame."""


RESTARTS = Hints(restarts=True)
Finding = tuple[bool, Any, float | None, Hints | None]
"""Whether the condition holds; what to remember; what the type measures (None: the seconds since the start); hints."""


class TrackRule(Rule[S]):
    """A rule about single tracks."""

    ONLY_INSIDE: ClassVar[bool] = True
    """Whether nothing is to be found, or remembered, of a track that was never in the zone."""

    @abstractmethod
    def find(self, frame: FrameView, track: Track, sample: Sample, subject: Subject) -> Finding:
        """Return whether the condition holds for a track that is seen in the frame and that the rule admits."""

    def judge(self, frame: FrameView, subjects: Mapping[Key, Subject]) -> dict[Key, Subject]:
        """Return what is remembered of the tracks after a frame."""
        if frame.lost:
            subjects = self.end_lost(frame, subjects)
        now_ms, step_ms, timing = frame.now_ms, self.step_ms(frame), self.timing
        admits_all, find, share = self.admits_all, self.find, self.anchor_share
        left, right, top, bottom = self.bounds_in(frame)
        only_inside = self.ONLY_INSIDE and self.zone is not None
        after: dict[Key, Subject] = {}
        for key, track, sample in frame.seen:
            known = subjects.get(key)
            if known is None and only_inside:
                x, y = sample[1], sample[2] + share * sample[4]
                if x < left or x > right or y < top or y > bottom:
                    continue
            hints = None
            if admits_all or self.admits_track(track):
                before = BLANK if known is None else known
                holds, memory, value, hints = find(frame, track, sample, before)
                if hints is not None and hints.restarts and before.status <= PENDING:
                    if holds and hints is RESTARTS and timing.start_ms and timing.schedule.is_open(now_ms):
                        # What `advance` would return of something that moves, and so begins again with each frame.
                        after[key] = make_subject((PENDING, now_ms, 0, HOLDING, 0, before.ended_ms, None, memory))
                        continue
                    before = make_subject((IDLE, 0, 0, 0, 0, before.ended_ms, None, before.memory))
            elif known is None:
                continue
            else:
                before, holds, memory, value = known, False, known.memory, last_value(known)
            if not holds and before.status == IDLE:
                if memory is not None or self._is_cooling(before):
                    after[key] = before if memory is before.memory else make_subject((*before[:-1], memory))
                continue
            if hints is None and holds and before.status == ACTIVE:
                # What `advance` would return, without the call: an incident that goes on is the usual case.
                _, since_ms, held_ms, _, false_at_ms, ended_ms, incident, _ = before
                subject = make_subject(
                    (ACTIVE, since_ms, held_ms + step_ms, HOLDING, false_at_ms, ended_ms, incident, memory)
                )
            elif hints is None:
                subject = advance(before, now_ms, step_ms, holds, timing, memory)
            else:
                subject = advance(before, now_ms, step_ms, holds, timing, memory, hints.ready, hints.began_ms)
            if subject.status >= ACTIVE or before.status >= ACTIVE:
                subject = self.settle(frame, key, before, subject, value, ((key[0], track.label),))
            if subject.status != IDLE or memory is not None or self._is_cooling(subject):
                after[key] = subject
        unseen_ms = self.unseen_ms(frame) if frame.unseen else 0
        for key, track in frame.unseen:
            known = subjects.get(key)
            if known is not None:
                subject = advance(known, now_ms, step_ms, None, timing, known.memory, unseen_ms=unseen_ms)
                if subject.status >= ACTIVE:
                    subject = self.settle(frame, key, known, subject, last_value(known), ((key[0], track.label),))
                if subject.status != IDLE or subject.memory is not None or self._is_cooling(subject):
                    after[key] = subject
        return after

    def _is_cooling(self, subject: Subject) -> bool:
        return subject.ended_ms != NEVER and self.timing.cooldown_ms > 0

    def find_standing(
        self, frame: FrameView, sample: Sample, subject: Subject, include_parked: bool
    ) -> tuple[bool, Any, bool]:
        """Return whether an object stands, what to remember as ``memory[0]``, and whether it began with this frame.

        The memory of the rule must be a tuple whose first item is what this returned, or None.
        """
        now_ms, x, top, width, height, _ = sample
        y = top + self.anchor_share * height
        if subject.memory is None:
            return include_parked, begin_stay(x, y, now_ms), True
        status = subject.status
        # While it moves, each frame may be the one in which it stops.
        may_restart = status == IDLE or (status == PENDING and subject.held_ms <= self.timing.flicker_ms)
        stays, restarts, stay = follow_stay(
            subject.memory[0], x, y, now_ms, width, height, status >= ACTIVE, may_restart
        )
        return (stays or restarts) and (include_parked or stay[2]), stay, restarts


def last_value(subject: Subject) -> float | None:
    """Return what the type measured in the last frame in which a subject's condition held, if it has an incident."""
    return subject.incident.value if subject.incident is not None else None
