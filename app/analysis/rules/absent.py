"""AbsentRule: something that should be in a zone is not.

Definition: fewer than ``count`` objects of the classes are in the zone for ``start_after``, over frames that were
judged: a camera that is down is no absence, as timers advance by no more than ``max_gap`` a frame. It ends when there
are enough for ``end_after``. Subject: the zone. Value: objects in the zone.

Elsewhere: Hikvision *absence*; Bosch *removed object*; supervision ``PolygonZone`` with a count of zero.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "absent", "classes": "guard", "start_after": 5, "zone": [[0, 0], [1, 0], [1, 1], [0, 1]]}
>>> show(rule, [(0.2 * n, [] if 10 <= n < 50 else [("guard", n // 10, 0.5, 0.5)]) for n in range(70)])
new at 2.4 0
end at 2.4 10 0
"""

from __future__ import annotations

from collections.abc import Sequence

from app.analysis.rules.state import Track
from app.analysis.rules.zone_rule import ZoneRule
from app.settings.rules import Absent


class AbsentRule(ZoneRule[Absent]):
    """Too few objects in a zone."""

    TYPE = "absent"

    def __init__(self, settings: Absent) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.start_after, end=settings.end_after)

    def find(
        self, tracks: Sequence[tuple[int, Track]], untracked: Sequence[str], was_active: bool
    ) -> tuple[bool, float]:
        """Return whether there are too few, and how many."""
        count = len(tracks) + len(untracked)
        return count < self.settings.count, count
