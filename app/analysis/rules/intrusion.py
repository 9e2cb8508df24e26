"""IntrusionRule: an object is where none should be.

Definition: the anchor of a track is in the zone for ``start_after``; it ends when the anchor is outside the zone, grown
by ``margin``, for ``end_after``. Subject: the track. Value: seconds since it came in.

Elsewhere: DeepStream nvdsanalytics *ROI filtering*; Frigate *zone* with ``inertia``; Axis Object Analytics *object in
area*; Hikvision *intrusion detection*; ONVIF *FieldDetector/ObjectsInside*.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "intrusion", "zone": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}
>>> show(rule, [(0.2 * n, [("person", 7, 0.5, 0.4 if n < 5 or n > 15 else 0.7)]) for n in range(30)])
new 7 at 1 0.6
end 7 at 1 3.2 2.2
"""

from __future__ import annotations

from app.analysis.rules.rule import FrameView
from app.analysis.rules.state import Sample, Subject, Track
from app.analysis.rules.track_rule import Finding, TrackRule
from app.settings.rules import Intrusion


class IntrusionRule(TrackRule[Intrusion]):
    """Tracks in a zone."""

    TYPE = "intrusion"

    def __init__(self, settings: Intrusion) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.start_after, end=settings.end_after)

    def find(self, frame: FrameView, track: Track, sample: Sample, subject: Subject) -> Finding:
        """Return whether a track is in the zone; the memory is whether it was."""
        inside = self.is_inside(frame, sample, subject.memory is True)
        return inside, inside or None, None, None
