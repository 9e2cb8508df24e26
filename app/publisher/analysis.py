"""FrameAnalysis: what is known of a camera's objects, frame by frame, in the order in which the frames are committed.

Used by the spool, within the transaction that commits the frame's event (``app.publisher.spool.analysis``).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.analysis.tracking.frame import NO_TRACK, ObservedBox, ObservedFrame
from app.analysis.tracking.state import CameraTracks
from app.analysis.tracking.tracker import track
from app.core.channel import Channel
from app.core.event import DetectedObject, DetectionEvent, WeakDetection
from app.errors import SettingsError, StateUnreadable
from app.publisher.evidence import EvidenceSource
from app.publisher.incident_analysis import IncidentAnalysis, IncidentStates, with_orphans
from app.publisher.spool.analysis import Analysed, FrameTracks, Judged, JudgedFrame
from app.settings.tracking import TrackingSettings
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

TRACKS = "track"
"""The kind under which a camera's tracks are stored."""


@dataclass(frozen=True, eq=False)
class CameraStates:
    """What is kept of one camera from a frame to the next."""

    tracks: CameraTracks
    incidents: IncidentStates = field(default_factory=IncidentStates)
    reread: bool = False
    """Whether they were read from disk and no frame has come since. Then they may be older than the camera's last
    frame, after a loss of power or out of a damaged file, and the next ids may have been given already."""


class FrameAnalysis:
    """Follows the objects of cameras, and puts their ids into the events."""

    def __init__(
        self,
        tracking: TrackingSettings,
        channels: Collection[Channel] = (),
        evidence: EvidenceSource | None = None,
    ) -> None:
        """Begin with no camera, and without rules.

        Args:
            tracking: how objects are followed.
            channels: those for which records are made.
            evidence: makes pictures and clips for rules that ask for it; ``None``: there are none.
        """
        self._tracking = tracking
        self._incidents = IncidentAnalysis(channels, tracking.lost_after, evidence)
        self._unread = TroubleLog(logger, "the objects of a camera begin anew", unit="times", level=logging.ERROR)
        self._failed = TroubleLog(logger, "a frame's objects are not tracked", unit="frames", level=logging.ERROR)
        self._unjudged = TroubleLog(logger, "a frame is not judged by the rules", unit="frames", level=logging.ERROR)

    def load(
        self, camera_id: str, stored: Mapping[str, bytes], under_way: Sequence[Mapping[str, Any]] = ()
    ) -> CameraStates:
        """Return a camera's states; what cannot be read begins anew, with new ids."""
        tracks = CameraTracks()
        try:
            if TRACKS in stored:
                tracks = CameraTracks.load(stored[TRACKS])
        except StateUnreadable as error:
            self._unread.report(str(error), camera_id=camera_id)
        incidents = IncidentStates()
        try:
            incidents = self._incidents.load(stored)
        except (StateUnreadable, ValueError) as error:
            self._unread.report(str(error), camera_id=camera_id)
        return CameraStates(tracks, with_orphans(incidents, under_way), reread=True)

    def analyse(self, states: CameraStates, frame: JudgedFrame) -> tuple[CameraStates, Analysed]:
        """Return the states after a camera's next frame; its event with what happened, and the ids of its objects."""
        tracks, reread, counts, event = self._follow(states, frame)
        incidents, judged = states.incidents, Judged()
        try:
            incidents, event, judged = self._incidents.judge(incidents, event)
        except Exception as error:  # noqa: BLE001 - an event is not held back by what is only known of it
            self._unjudged.report(f"{type(error).__name__}: {error}", error=error, camera_id=event.camera_id)
        pictured = self._incidents.wants_pictures(event.camera_id)
        return CameraStates(tracks, incidents, reread), Analysed(event, frame.stored(event), counts, judged, pictured)

    def dump(self, states: CameraStates, before: CameraStates) -> Mapping[str, bytes]:
        """Return the stored forms of what differs from the states before."""
        stored = dict(self._incidents.dump(states.incidents, before.incidents))
        if states.tracks is not before.tracks:
            stored[TRACKS] = states.tracks.dump()
        return stored

    def end(self, states: CameraStates, camera_id: str, silent_s: float | None) -> tuple[CameraStates, Judged] | None:
        """Return the states of a camera that is gone, and what ended; see :meth:`IncidentAnalysis.end`."""
        ended = self._incidents.end(states.incidents, camera_id, silent_s)
        return None if ended is None else (replace(states, incidents=ended[0]), ended[1])

    def set_rules(self, rules: str) -> None:
        """Apply these rules, a JSON list, from the next frame on; where they cannot be read, none."""
        try:
            self._incidents.set_rules(rules)
        except SettingsError as error:  # checked before they were kept: an older version may know fewer
            self._unread.report(f"the rules kept in the spool: {error}")

    def _follow(
        self, states: CameraStates, frame: JudgedFrame
    ) -> tuple[CameraTracks, bool, FrameTracks | None, DetectionEvent]:
        """Return the tracks after a frame, whether they still are as read, their counts, and the event with ids."""
        event, before = frame.event, states.tracks
        if not (self._tracking.enabled and frame.tracked):
            return before, states.reread, None, event
        if states.reread:
            before = before.skip_ids(event.captured_at_ns)
        try:
            tracks, tracked = track(before, _observed(frame), self._tracking)
        except Exception as error:  # noqa: BLE001 - an event is not held back by what is only known of it
            self._failed.report(f"{type(error).__name__}: {error}", error=error, camera_id=event.camera_id)
            return states.tracks, states.reread, None, event
        ids = [None if one == NO_TRACK else one for one in tracked.ids[: len(event.objects)]]
        counts = FrameTracks(tracks.active, tracked.started, tracked.late)
        return tracks, states.reread and tracked.late, counts, event.with_track_ids(ids)


def _observed(frame: JudgedFrame) -> ObservedFrame:
    """Return all boxes of a frame, those of its event first."""
    seen: tuple[DetectedObject | WeakDetection, ...] = (*frame.event.objects, *frame.weak)
    boxes = []
    for one in seen:
        left, top, width, height = one.bbox
        boxes.append(ObservedBox(left, top, left + width, top + height, one.confidence, one.class_id))
    return ObservedFrame(frame.event.captured_at_ns, tuple(boxes))
