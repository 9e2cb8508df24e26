"""ClassCountRule: the numbers of objects by class in a zone are as they should not be.

Definition: all comparisons of ``counts`` hold for the objects in the zone for ``start_after``; it ends when one does
not for ``end_after``. Subject: the zone. Value: objects of these classes in the zone.

Elsewhere: AWS Rekognition *protective equipment* (persons without a helmet); Frigate's counts by zone and label;
DeepStream nvdsanalytics counts by class in a region.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "class_count", "counts": {"person": ">=1", "helmet": "==0"}, "zone": [[0, 0], [1, 0], [0.5, 1]]}
>>> show(rule, [(0.2 * n, [("person", 1, 0.5, 0.5)] + ([("helmet", 2, 0.5, 0.4)] if n < 10 else [])) for n in
...     range(40)])
new 1 at 2.4 1
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from app.analysis.rules.state import Track
from app.analysis.rules.zone_rule import ZoneRule
from app.settings.rules import ClassCount, comparison

_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


class ClassCountRule(ZoneRule[ClassCount]):
    """Numbers of objects by class in a zone."""

    TYPE = "class_count"

    def __init__(self, settings: ClassCount) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.start_after, end=settings.end_after)
        self.classes = frozenset(settings.counts)
        compared = {label: comparison(text) for label, text in settings.counts.items()}
        self._comparisons = [(label, _COMPARE[sign], number) for label, (sign, number) in compared.items()]

    def find(
        self, tracks: Sequence[tuple[int, Track]], untracked: Sequence[str], was_active: bool
    ) -> tuple[bool, float]:
        """Return whether all comparisons hold, and how many objects of their classes there are."""
        counts = Counter([track.label for _, track in tracks])
        counts.update(untracked)
        return all(holds(counts[label], number) for label, holds, number in self._comparisons), counts.total()
