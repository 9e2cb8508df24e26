"""TrackCounts: how many tracks cameras have and how many began, gathered between two reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.publisher.spool.analysis import FrameTracks

SILENT_S = 60.0
"""A camera without a frame for so long has no track any more: the longest ``tracking.lost_after``."""


class TrackObserver(Protocol):
    """Receives the counts of tracks, for metrics."""

    def tracks(self, camera_id: str, active: int, started: int, late: int) -> None:
        """Record, at intervals, a camera's tracks that have an id, and those that got one since the last call.

        ``late`` are its frames since then that were not tracked, as they were captured no later than the one before.
        """


@dataclass
class _Camera:
    active: int = 0
    started: int = 0
    late: int = 0
    seen_at: float = 0.0


class TrackCounts:
    """Counts for a while, and reports: a metric that was set with each frame would cost as much as the tracking."""

    def __init__(self, observer: TrackObserver, monotonic: Callable[[], float]) -> None:
        self._observer = observer
        self._monotonic = monotonic
        self._cameras: dict[str, _Camera] = {}

    def record(self, camera_id: str, tracks: FrameTracks) -> None:
        """Count a frame."""
        camera = self._cameras.setdefault(camera_id, _Camera())
        camera.active = tracks.active
        camera.started += tracks.started
        camera.late += tracks.late
        camera.seen_at = self._monotonic()

    def report(self) -> None:
        """Report all cameras; one that has been silent for long once more, without tracks."""
        now = self._monotonic()
        for camera_id, camera in list(self._cameras.items()):
            silent = camera.seen_at + SILENT_S < now
            self._observer.tracks(camera_id, 0 if silent else camera.active, camera.started, camera.late)
            camera.started = camera.late = 0
            if silent:
                del self._cameras[camera_id]
