"""LoiteringRule: an object stays in a zone for too long.

Definition: the anchor of a track is in the zone for ``dwell`` seconds without a break longer than ``flicker``
(``mode: continuous``), or for so long in sum within the last ``window`` seconds (``mode: total``). It ends when the
anchor is outside the zone, grown by ``margin``, for ``end_after``; after that the sum begins at zero. Subject: the
track. Value: seconds since it came in; with ``mode: total`` the sum.

Elsewhere: Frigate ``loitering_time``; Axis Object Analytics *time in area*; Hikvision *loitering detection*;
supervision *time in zone*; ONVIF *LoiteringDetector*; dwell time.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "loitering", "dwell": 3, "zone": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}
>>> show(rule, [(0.2 * n, [("person", 7, 0.5, 0.7 if n < 20 else 0.4)]) for n in range(30)])
new 7 at 0 3
end 7 at 0 4 4
"""

from __future__ import annotations

from app.analysis.rules.rule import FrameView
from app.analysis.rules.state import IDLE, Sample, Subject, Track
from app.analysis.rules.track_rule import Finding, Hints, TrackRule
from app.settings.rules import Loitering

_MAX_STAYS = 32
"""Stays in the zone that are kept for the sum; the two oldest are joined when there are more."""

_Stays = tuple[tuple[int, int, int], ...]
"""Of each stay in the zone: its first and last millisecond, and how many of these count (gaps in the video do not)."""


class LoiteringRule(TrackRule[Loitering]):
    """Tracks that stay in a zone."""

    TYPE = "loitering"

    def __init__(self, settings: Loitering) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.dwell, end=settings.end_after)
        self._window_ms = round(settings.window * 1000)

    def find(self, frame: FrameView, track: Track, sample: Sample, subject: Subject) -> Finding:
        """Return whether a track is in the zone; the memory is whether it was, and its stays."""
        was_inside, stays = subject.memory or (False, ())
        inside = self.is_inside(frame, sample, was_inside)
        if self.settings.mode == "continuous":
            return inside, (True, ()) if inside else None, None, None
        if subject.status == IDLE and not was_inside and stays and subject.ended_ms >= stays[-1][1]:
            stays = ()  # an incident has ended since
        stays = self._extend(stays, frame, inside, was_inside)
        total_ms = self._total(stays, frame.now_ms)
        long_enough = total_ms >= self.timing.start_ms
        began_ms = stays[0][0] if stays else None
        memory = (inside, stays) if inside or stays else None
        return inside, memory, total_ms / 1000, Hints(long_enough, False, began_ms)

    def _extend(self, stays: _Stays, frame: FrameView, inside: bool, was_inside: bool) -> _Stays:
        now_ms, oldest = frame.now_ms, frame.now_ms - self._window_ms
        if stays and stays[0][1] <= oldest:
            stays = tuple(stay for stay in stays if stay[1] > oldest)
        if not inside:
            return stays
        if not was_inside or not stays:
            stays = (*stays, (now_ms, now_ms, 0))
            if len(stays) > _MAX_STAYS:
                (first, _, one), (_, last, other) = stays[:2]
                stays = ((first, last, one + other), *stays[2:])
            return stays
        first, _, counted = stays[-1]
        return (*stays[:-1], (first, now_ms, counted + self.step_ms(frame)))

    def _total(self, stays: _Stays, now_ms: int) -> int:
        """Return how many milliseconds of the stays are in the window; of one that began before it, its part."""
        oldest = now_ms - self._window_ms
        total = 0
        for first, last, counted in stays:
            total += counted if first >= oldest else counted * (last - oldest) // (last - first)
        return total
