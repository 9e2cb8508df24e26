"""SpeedRule: an object is too fast.

Definition: the speed of a track's anchor on the ground, by least squares over the last second, is at least ``limit``
km/h for ``start_after``, in the zone if there is one; it ends when that is not so for ``end_after``. ``ground`` has
four points of the picture and the same four in metres. Boxes at the frame's border are left out, as it may cut them
off, and the middle of what is left moves at half the speed. Subject: the track. Value: km/h.

Elsewhere: supervision's speed estimation by a view transformer; Ultralytics ``SpeedEstimator``; Frigate zones with
``distances`` and ``speed_threshold``; Axis *speed monitor*.

>>> from app.analysis.rules.example import show
>>> corners = [[0, 0], [1, 0], [1, 1], [0, 1]]
>>> ground = {"points": corners, "metres": [[100 * x, 100 * y] for x, y in corners]}
>>> rule = {"type": "speed", "ground": ground, "limit": 50}
>>> show(rule, [(0.2 * n, [("car", 7, 0.1 + 0.04 * n, 0.5), ("car", 8, 0.1 + 0.02 * n, 0.5)]) for n in range(12)])
new 7 at 0.6 72
"""

from __future__ import annotations

import math

from app.analysis.rules.homography import Homography
from app.analysis.rules.motion import velocity
from app.analysis.rules.rule import FrameView
from app.analysis.rules.state import Sample, Subject, Track
from app.analysis.rules.track_rule import Finding, TrackRule, last_value
from app.settings.rules import Speed

_WINDOW_MS = 1000
_BORDER = 0.01
"""Heights of the frame from its border within which a box may be cut off."""
_KMH = 3.6
"""Kilometres an hour in a metre a second."""


class SpeedRule(TrackRule[Speed]):
    """Tracks that are fast on the ground."""

    TYPE = "speed"

    def __init__(self, settings: Speed) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.start_after, end=settings.end_after)
        self._ground: dict[float, Homography] = {}

    def find(self, frame: FrameView, track: Track, sample: Sample, subject: Subject) -> Finding:
        """Return whether a track in the zone is too fast; the memory is whether it was in the zone."""
        if not self.is_inside(frame, sample, subject.memory is True):
            return False, None, last_value(subject), None
        moving = None
        whole = [one for one in track.samples if _is_whole(one, frame.aspect)]
        if whole and sample.time_ms - whole[-1].time_ms < _WINDOW_MS:
            known = track._replace(samples=tuple(whole))
            moving = velocity(known, _WINDOW_MS, self.anchor_share, self._homography(frame.aspect))
        if moving is None:
            return False, True, last_value(subject), None
        speed = math.hypot(*moving) * _KMH
        return speed >= self.settings.limit, True, speed, None

    def _homography(self, aspect: float) -> Homography:
        found = self._ground.get(aspect)
        if found is None:
            if len(self._ground) >= 8:
                self._ground.clear()
            points = [(x * aspect, y) for x, y in self.settings.ground.points]
            found = self._ground[aspect] = Homography(points, self.settings.ground.metres)
        return found


def _is_whole(sample: Sample, aspect: float) -> bool:
    """Return whether the frame's border cuts nothing off a box."""
    _, x, top, width, height, _ = sample
    half = width / 2
    return min(x - half, aspect - x - half, top, 1 - top - height) > _BORDER
