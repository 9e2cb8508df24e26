"""WrongWayRule: an object moves against the permitted direction.

Definition: the anchor of a track in the zone moves at 0.3 box heights a second or more, by least squares over the last
1.5 s, and the angle between its velocity and ``direction`` is more than 180° − ``tolerance``, for ``start_after``; it
ends when that is not so for ``end_after``. Subject: the track. Value: its speed in box heights a second.

Elsewhere: DeepStream nvdsanalytics *direction detection*; Hikvision *wrong-way driving*; FLIR *wrong-way driver*.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "wrong_way", "direction": [[0.1, 0.5], [0.9, 0.5]]}
>>> show(rule, [(0.2 * n, [("car", 7, 0.9 - 0.02 * n, 0.5), ("car", 8, 0.1 + 0.02 * n, 0.5)]) for n in range(12)])
new 7 at 0.8 1
"""

from __future__ import annotations

import math

from app.analysis.rules.motion import velocity
from app.analysis.rules.rule import FrameView
from app.analysis.rules.state import Sample, Subject, Track
from app.analysis.rules.track_rule import Finding, TrackRule, last_value
from app.settings.rules import WrongWay

_WINDOW_MS = 1500
_LEAST_SPEED = 0.3
"""Box heights a second; below it the direction is noise."""


class WrongWayRule(TrackRule[WrongWay]):
    """Tracks that move against a direction."""

    TYPE = "wrong_way"

    def __init__(self, settings: WrongWay) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.start_after, end=settings.end_after)
        self._most_cosine = -math.cos(math.radians(settings.tolerance))
        self._ways: dict[float, tuple[float, float, float]] = {}

    def find(self, frame: FrameView, track: Track, sample: Sample, subject: Subject) -> Finding:
        """Return whether a track in the zone moves the wrong way; the memory is whether it was in the zone."""
        if not self.is_inside(frame, sample, subject.memory is True):
            return False, None, last_value(subject), None
        moving = velocity(track, _WINDOW_MS, self.anchor_share)
        if moving is None:
            return False, True, last_value(subject), None
        speed = math.hypot(*moving)
        heights = speed / max(sample.height, 1e-9)
        if heights < _LEAST_SPEED:
            return False, True, heights, None
        right, down, length = self._ways.get(frame.aspect) or self._way(frame.aspect)
        cosine = (moving[0] * right + moving[1] * down) / (speed * length)
        return cosine < self._most_cosine, True, heights, None

    def _way(self, aspect: float) -> tuple[float, float, float]:
        """Return the permitted direction in heights of a frame of that format, and its length."""
        if len(self._ways) >= 8:
            self._ways.clear()
        (x, y), (to_x, to_y) = self.settings.direction
        right, down = (to_x - x) * aspect, to_y - y
        found = self._ways[aspect] = right, down, math.hypot(right, down)
        return found
