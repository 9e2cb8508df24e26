"""The one line about the whole system."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from app.cameras import CameraState, CameraStatus
from app.cameras.status import Blocked, ServiceTrouble
from app.core.quantiles import Quantiles
from app.fleet.status_line import Observation, StatusLine
from app.publisher import PublisherSnapshot
from tests.support.statuses import camera

A = frozenset("a")


def publisher(published: int, spooled: int = 0, trouble: str = "") -> PublisherSnapshot:
    quantiles = Quantiles(published, 40.0, 80.0, 120.4)
    return PublisherSnapshot(
        accepted=published + spooled,
        published=published,
        spooled=spooled,
        quarantined=0,
        discarded=0,
        destroyed=0,
        spool_bytes=spooled * 900,
        oldest_s=1.0 if spooled else 0.0,
        in_flight=0,
        failed=0,
        out_of_order=0,
        repeated=0,
        breaches=0,
        by_camera={},
        latency=quantiles,
        trouble=trouble,
    )


def test_it_tells_rate_drops_latency_and_cameras():
    reporter = StatusLine(200)
    reporter.line(Observation(0.0, [camera(superseded=1)], publisher(100), A))
    line = reporter.line(Observation(10.0, [camera(superseded=3, deadline=1)], publisher(198), A))
    assert line == (
        "9.8 events/s | dropped 3 (superseded 2, deadline 1) | "
        "capture to Kafka p50 40 p95 80 p99 120 ms of 200 ms | cameras 1/1 live"
    )


def test_a_camera_reborn_in_a_new_epoch_counts_from_nothing():
    reporter = StatusLine(200)
    reporter.line(Observation(0.0, [camera(epoch=1, superseded=50)], publisher(1), A))
    assert "dropped 2 " in reporter.line(Observation(10.0, [camera(epoch=2, superseded=2)], publisher(1), A))


def test_it_says_when_the_publisher_is_away_and_when_a_camera_is_not_live():
    line = StatusLine(200).line(Observation(0.0, [camera(state=CameraState.OFFLINE)], None, A))
    assert line.startswith("publisher away")
    assert "cameras 0/1 live" in line


def test_a_publisher_that_was_reborn_gives_no_negative_rate():
    reporter = StatusLine(200)
    reporter.line(Observation(0.0, [], publisher(500), A))
    assert reporter.line(Observation(10.0, [], publisher(3), A)).startswith("3 events |")


def test_a_camera_that_was_not_heard_once_has_not_dropped_all_its_frames_anew():
    reporter = StatusLine(200)
    reporter.line(Observation(0.0, [camera(superseded=500)], publisher(1), A))
    reporter.line(Observation(10.0, [], publisher(1), A))
    assert "dropped 3 " in reporter.line(Observation(20.0, [camera(superseded=503)], publisher(1), A))


def test_a_camera_that_does_not_answer_still_counts_as_one_that_should_be_live():
    assert "cameras 1/2 live" in StatusLine(200).line(Observation(0.0, [camera()], publisher(1), A | {"b"}))


def test_events_that_wait_are_reported_while_kafka_is_away_and_not_else():
    reporter = StatusLine(200)
    line = reporter.line(Observation(0.0, [], publisher(100, spooled=7, trouble="no broker answers"), A))
    assert line.endswith("7 events wait in the spool: no broker answers")
    assert "spool" not in reporter.line(Observation(10.0, [], publisher(100, spooled=7), A))


def test_quarantined_events_are_reported_with_the_newest_reason_for_as_long_as_they_are_there():
    reporter = StatusLine(200)
    reported = [
        reporter.line(
            Observation(at, [], replace(publisher(100), quarantined=count, refusal="too old" * bool(count)), A)
        )
        for at, count in ((0.0, 1), (10.0, 3), (20.0, 3), (30.0, 0))
    ]
    shows = " ('sightline quarantine list' shows what was set aside)"
    assert reported[0].endswith(f" | 1 event is in quarantine: too old{shows}")
    assert reported[1].endswith(f" | 3 events are in quarantine, the newest: too old{shows}")
    assert reported[2].endswith(reported[1].rsplit("|", 1)[1])
    assert "quarantine" not in reported[3]


def test_a_blocked_camera_is_distinguished_from_one_whose_source_is_away():
    def blocked(name: str, trouble: ServiceTrouble) -> CameraStatus:
        return replace(camera(name), blocked=Blocked(trouble, "", datetime(2026, 1, 1, tzinfo=UTC)))

    cameras = [blocked("a", ServiceTrouble.AWAY), blocked("b", ServiceTrouble.SLOW), blocked("c", ServiceTrouble.AWAY)]
    line = StatusLine(200).line(Observation(0.0, [*cameras, camera("d")], publisher(1), frozenset("abcd")))
    assert line.endswith("cameras 4/4 live, 3 blocked (service away for 2, service slow for 1)")


def test_a_camera_that_was_removed_is_forgotten():
    reporter = StatusLine(200)
    reporter.line(Observation(0.0, [camera(superseded=5)], publisher(1), A))
    reporter.line(Observation(10.0, [], publisher(1), frozenset()))
    assert not reporter._ledgers
