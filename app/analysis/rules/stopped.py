"""StoppedRule: an object has stopped.

Definition: the anchor of a track stays within 0.15 box diagonals of the median of its places for ``dwell``, after it
had moved by a box height since it was first seen (``include_parked: true`` lifts that), in the zone if there is one; it
ends when the anchor is beyond 0.3 box diagonals of the median, or outside the zone, for ``end_after``. Subject: the
track. Value: seconds since it stopped.

Elsewhere: Frigate *stationary objects*; Axis Object Analytics *time in area*; Hikvision *parking detection*; FLIR
*stopped vehicle*.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "stopped", "dwell": 3}
>>> show(rule, [(0.2 * n, [("car", 7, 0.2 + 0.02 * min(n, 15), 0.5), ("car", 8, 0.8, 0.5)]) for n in range(40)])
new 7 at 3 3
"""

from __future__ import annotations

from app.analysis.rules.rule import FrameView
from app.analysis.rules.state import Sample, Subject, Track
from app.analysis.rules.track_rule import RESTARTS, Finding, TrackRule
from app.settings.rules import Stopped


class StoppedRule(TrackRule[Stopped]):
    """Tracks that stand."""

    TYPE = "stopped"
    ONLY_INSIDE = False

    def __init__(self, settings: Stopped) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=settings.dwell, end=settings.end_after)

    def find(self, frame: FrameView, track: Track, sample: Sample, subject: Subject) -> Finding:
        """Return whether a track stands in the zone; the memory is its stay and whether it was in the zone."""
        memory = subject.memory
        inside = self.zone is None or self.is_inside(frame, sample, memory is not None and memory[1])
        stands, stay, restarts = self.find_standing(frame, sample, subject, self.settings.include_parked)
        return stands and inside, (stay, inside), None, RESTARTS if restarts else None
