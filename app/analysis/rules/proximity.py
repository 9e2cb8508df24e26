"""ProximityRule: two objects are near each other.

Definition: the anchors of two tracks of the classes, both in the zone if there is one, are within ``distance`` mean box
heights of the two for ``start_after``; it ends when they are not for ``end_after``. Subject: the pair. Value: their
distance in mean box heights.

Elsewhere: Ultralytics ``DistanceCalculation``; *social distancing* (Landing AI, 2020); vehicle–pedestrian proximity.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "proximity", "distance": 1.5, "classes": ["person", "forklift"]}
>>> show(rule, [(0.2 * n, [("person", 7, 0.5, 0.5), ("forklift", 8, 0.9 - 0.02 * n, 0.5)]) for n in range(40)])
new 7 8 at 2.6 0.6
end 7 8 at 2.6 5.6 1.4
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from app.analysis.rules.machine import advance
from app.analysis.rules.rule import FrameView, Rule
from app.analysis.rules.state import ACTIVE, IDLE, NEVER, Key, Subject, Track
from app.settings.rules import Proximity

_BLANK = Subject()
_Placed = tuple[int, Track, float, float, float]
"""A track's id, the track, its anchor, and the height of its box."""


class ProximityRule(Rule[Proximity]):
    """Pairs of tracks that are near each other."""

    TYPE = "proximity"

    def __init__(self, settings: Proximity) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.start_after, end=settings.end_after)

    def judge(self, frame: FrameView, subjects: Mapping[Key, Subject]) -> dict[Key, Subject]:
        """Return what is remembered of the pairs after a frame."""
        subjects = self.end_lost(frame, subjects)
        after: dict[Key, Subject] = {}
        judged: set[Key] = set()
        placed = self._placed(frame, {track_id for key in subjects for track_id in key})
        for index, one in enumerate(placed):
            for other in placed[index + 1 :]:
                key: Key = (one[0], other[0]) if one[0] < other[0] else (other[0], one[0])
                apart = _apart(one, other)
                known = subjects.get(key)
                if known is not None or apart <= self.settings.distance:
                    judged.add(key)
                    self._advance(frame, after, key, known or _BLANK, apart <= self.settings.distance, apart)
        for key, known in subjects.items():
            if key not in judged:
                seen = all(frame.tracks[track_id].samples[-1].time_ms == frame.now_ms for track_id in key)
                # Seen, but not placed: no longer in the zone, or not of the classes.
                self._advance(frame, after, key, known, False if seen else None, None)
        return after

    def _placed(self, frame: FrameView, were_near: set[int]) -> list[_Placed]:
        """Return the tracks that are seen in the frame and that the rule is about."""
        placed = []
        for track_id, track in frame.tracks.items():
            sample = track.samples[-1]
            if (
                sample.time_ms == frame.now_ms
                and self.is_inside(frame, sample, track_id in were_near)
                and self.admits_track(track)
            ):
                y = sample.top + self.anchor_share * sample.height
                placed.append((track_id, track, sample.x, y, sample.height))
        return placed

    def _advance(
        self,
        frame: FrameView,
        after: dict[Key, Subject],
        key: Key,
        before: Subject,
        holds: bool | None,
        value: float | None,
    ) -> None:
        subject = advance(
            before,
            frame.now_ms,
            self.step_ms(frame),
            holds,
            self.timing,
            None,
            unseen_ms=self.unseen_ms(frame) if holds is None else None,
        )
        if value is None and before.incident is not None:
            value = before.incident.value
        if before.status >= ACTIVE or subject.status >= ACTIVE:
            about = [(track_id, frame.tracks[track_id].label) for track_id in key]
            subject = self.settle(frame, key, before, subject, value, about)
        if subject.status != IDLE or (subject.ended_ms != NEVER and self.timing.cooldown_ms):
            after[key] = subject


def _apart(one: _Placed, other: _Placed) -> float:
    """Return the distance of two tracks in mean box heights."""
    return math.hypot(one[2] - other[2], one[3] - other[3]) / max(0.5 * (one[4] + other[4]), 1e-9)
