"""ZoneRule: a rule whose incidents are about all objects in a zone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from app.analysis.rules.machine import advance
from app.analysis.rules.rule import FrameView, Rule, S
from app.analysis.rules.state import ACTIVE, Key, Subject, Track

ZONE: Key = ()
_BLANK = Subject()


class ZoneRule(Rule[S]):
    """A rule about a zone; an object counts until it has not been seen for ``flicker``."""

    COUNTS_UNTRACKED = True
    """Whether objects without a track count as well; they have no speed."""
    JUMPS = True

    @abstractmethod
    def find(
        self, tracks: Sequence[tuple[int, Track]], untracked: Sequence[str], was_active: bool
    ) -> tuple[bool, float]:
        """Return whether the condition holds, and what the type measures.

        Args:
            tracks: those in the zone.
            untracked: classes of the other objects in the zone.
            was_active: whether there is an incident.
        """

    def judge(self, frame: FrameView, subjects: Mapping[Key, Subject]) -> dict[Key, Subject]:
        """Return what is remembered of the zone after a frame."""
        before = subjects.get(ZONE, _BLANK)
        since_ms = self.still_seen_ms(frame) if frame.unseen else frame.now_ms
        were_inside = before.memory or ()
        tracks = []
        for track_id, track in frame.tracks.items():
            sample = track.samples[-1]
            if (
                sample.time_ms >= since_ms
                and self.is_inside(frame, sample, track_id in were_inside)
                and self.admits_track(track)
            ):
                tracks.append((track_id, track))
        untracked = self._untracked(frame) if self.COUNTS_UNTRACKED and frame.untracked else ()
        frame.zone_objects[self.id] = len(tracks) + len(untracked)
        holds, value = self.find(tracks, untracked, before.status >= ACTIVE)
        memory = tuple([track_id for track_id, _ in tracks])
        after = advance(before, frame.now_ms, self.step_ms(frame), holds, self.timing, memory or None)
        if before.status >= ACTIVE or after.status >= ACTIVE:
            about = [(track_id, track.label) for track_id, track in tracks]
            after = self.settle(frame, ZONE, before, after, value, about)
        return {} if after == _BLANK else {ZONE: after}

    def _untracked(self, frame: FrameView) -> list[str]:
        least = self.settings.min_confidence
        return [
            label
            for label, sample in frame.untracked
            if self.admits(label, sample.height) and sample.confidence >= least and self.is_inside(frame, sample, False)
        ]
