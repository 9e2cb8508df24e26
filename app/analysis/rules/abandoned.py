"""AbandonedRule: a thing was left behind.

Definition: a track of the classes stands (see ``stopped``), in the zone if there is one, and no track of the classes
``owners`` is within ``radius`` box heights, of the higher of the two boxes, for ``dwell``; it ends when that is not so
for ``end_after``. The thing need not have been seen to move (``include_parked: false`` asks for it): a bag is often
seen for the first time where it is put down. Subject: the thing's track. Value: seconds since it was left alone.

Elsewhere: Bosch *idle object*; Dahua *abandoned object*; Hikvision *unattended baggage*; PETS 2006 *left luggage* (an
owner farther than 3 m for 30 s).

>>> from app.analysis.rules.example import show
>>> rule = {"type": "abandoned", "classes": ["suitcase"], "dwell": 5}
>>> show(rule, [(0.2 * n, [("suitcase", 7, 0.3, 0.5), ("person", 8, 0.3 + 0.02 * min(n, 30), 0.5)]) for n in range(40)])
new 7 at 2.2 5
"""

from __future__ import annotations

import math

from app.analysis.rules.rule import FrameView
from app.analysis.rules.state import Sample, Subject, Track
from app.analysis.rules.track_rule import RESTARTS, Finding, TrackRule
from app.settings.rules import Abandoned


class AbandonedRule(TrackRule[Abandoned]):
    """Things that stand alone."""

    TYPE = "abandoned"
    ONLY_INSIDE = False

    def __init__(self, settings: Abandoned) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.dwell, end=settings.end_after)
        self._owners = frozenset(settings.owners)

    def find(self, frame: FrameView, track: Track, sample: Sample, subject: Subject) -> Finding:
        """Return whether a thing stands alone; the memory is its stay and whether it was in the zone."""
        inside = self.is_inside(frame, sample, subject.memory is not None and subject.memory[1])
        stands, stay, restarts = self.find_standing(frame, sample, subject, self.settings.include_parked)
        alone = stands and inside and not self._is_attended(frame, sample)
        return alone, (stay, inside), None, RESTARTS if restarts else None

    def _is_attended(self, frame: FrameView, thing: Sample) -> bool:
        """Return whether an owner, seen no longer than ``flicker`` ago, is near a thing."""
        near = frame.shared.get(self.id)
        if near is None:
            near = frame.shared[self.id] = self._owners_in(frame)
        share = self.anchor_share
        y = thing.top + share * thing.height
        return any(
            math.hypot(sample.x - thing.x, sample.top + share * sample.height - y)
            <= self.settings.radius * max(sample.height, thing.height)
            for sample in near
        )

    def _owners_in(self, frame: FrameView) -> list[Sample]:
        since_ms = self.still_seen_ms(frame)
        owners = [track.samples[-1] for track in frame.tracks.values() if track.label in self._owners]
        seen = [sample for sample in owners if sample.time_ms >= since_ms]
        return seen + [sample for label, sample in frame.untracked if label in self._owners]
