"""Counts of tracks between two reports."""

from __future__ import annotations

from app.publisher.spool.analysis import FrameTracks
from app.publisher.track_counts import SILENT_S, TrackCounts
from tests.support.publisher import Time

Report = tuple[str, int, int, int]


class Reports:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.heard: list[Report] = []

    def tracks(self, camera_id: str, active: int, started: int, late: int) -> None:
        self.heard.append((camera_id, active, started, late))

    def take(self) -> list[Report]:
        heard, self.heard = self.heard, []
        return heard


def test_a_report_has_the_tracks_of_now_and_what_began_since_the_last_one():
    reports, time = Reports(), Time()
    counts = TrackCounts(reports, time.monotonic)
    for active, started in ((1, 1), (3, 2), (2, 0)):
        counts.record("a", FrameTracks(active, started))
    counts.record("b", FrameTracks(5, 5, late=False))
    counts.record("b", FrameTracks(5, 0, late=True))
    counts.report()
    assert reports.take() == [("a", 2, 3, 0), ("b", 5, 5, 1)]
    counts.report()
    assert reports.take() == [("a", 2, 0, 0), ("b", 5, 0, 0)]


def test_a_camera_that_is_silent_for_long_is_reported_once_more_without_tracks():
    reports, time = Reports(), Time()
    counts = TrackCounts(reports, time.monotonic)
    counts.record("a", FrameTracks(2, 2))
    counts.report()
    time.seconds += SILENT_S + 1
    reports.take()
    counts.report()
    counts.report()
    assert reports.take() == [("a", 0, 0, 0)]
