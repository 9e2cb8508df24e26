"""CrowdRule: many objects are in a zone.

Definition: at least ``count`` objects are in the zone for ``start_after``; it ends when fewer than ``count`` −
``hysteresis`` have been there for ``end_after``. Subject: the zone. Value: objects in the zone.

Elsewhere: DeepStream nvdsanalytics *overcrowding*; Axis Object Analytics *occupancy in area*; Hikvision *people
gathering*; supervision ``PolygonZone.current_count``; Ultralytics ``RegionCounter``.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "crowd", "count": 3, "hysteresis": 1, "zone": [[0, 0], [1, 0], [1, 1], [0, 1]]}
>>> sizes = [3] * 20 + [2] * 20 + [1] * 20
>>> show(rule, [(0.2 * n, [("person", one, 0.2 * one, 0.5) for one in range(1, 1 + size)]) for n, size in
...     enumerate(sizes)])
new 1 2 3 at 0 3
end 1 2 at 0 8.4 2
"""

from __future__ import annotations

from collections.abc import Sequence

from app.analysis.rules.state import Track
from app.analysis.rules.zone_rule import ZoneRule
from app.settings.rules import Crowd


class CrowdRule(ZoneRule[Crowd]):
    """Many objects in a zone."""

    TYPE = "crowd"

    def __init__(self, settings: Crowd) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.start_after, end=settings.end_after)

    def find(
        self, tracks: Sequence[tuple[int, Track]], untracked: Sequence[str], was_active: bool
    ) -> tuple[bool, float]:
        """Return whether there are many, and how many."""
        count = len(tracks) + len(untracked)
        return count >= self.settings.count - (self.settings.hysteresis if was_active else 0), count
