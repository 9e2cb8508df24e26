"""CongestionRule: many slow objects are in a zone.

Definition: at least ``count`` tracks are in the zone, and the median of their speeds, by least squares over the last
1.5 s, is at most ``speed`` box heights a second, for ``start_after``; it ends when that is not so for ``end_after``.
Tracks too young for a speed count, but are not in the median. Subject: the zone. Value: tracks in the zone.

Elsewhere: DeepStream nvdsanalytics *overcrowding* (count alone); Hikvision *congestion*; FLIR *queue*.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "congestion", "count": 3, "start_after": 5, "zone": [[0, 0], [1, 0], [1, 1], [0, 1]]}
>>> show(rule, [(0.2 * n, [("car", lane, 0.1 * lane, 0.5 + 0.001 * n) for lane in (1, 2, 3)]) for n in range(40)])
new 1 2 3 at 0.8 3
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from app.analysis.rules.motion import velocity
from app.analysis.rules.state import Track
from app.analysis.rules.zone_rule import ZoneRule
from app.settings.rules import Congestion

_WINDOW_MS = 1500


class CongestionRule(ZoneRule[Congestion]):
    """Slow tracks in a zone."""

    TYPE = "congestion"
    COUNTS_UNTRACKED = False

    def __init__(self, settings: Congestion) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.start_after, end=settings.end_after)

    def find(
        self, tracks: Sequence[tuple[int, Track]], untracked: Sequence[str], was_active: bool
    ) -> tuple[bool, float]:
        """Return whether there are many, and slow ones; and how many."""
        if len(tracks) < self.settings.count:
            return False, len(tracks)
        speeds = []
        for _, track in tracks:
            moving = velocity(track, _WINDOW_MS, self.anchor_share)
            if moving is not None:
                speeds.append(math.hypot(*moving) / max(track.samples[-1].height, 1e-9))
        return bool(speeds) and median(speeds) <= self.settings.speed, len(tracks)
