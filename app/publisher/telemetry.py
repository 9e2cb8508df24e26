"""PublisherTelemetry: the metrics of the publisher."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a camera on the edge has no Kafka client
    pass
from app.core.stage import Stage
from app.telemetry.metrics import (
    CAPTURE_TO_PUBLISH,
    EVENTS_PUBLISHED,
    EVENTS_QUARANTINED,
    FRAMES_UNTRACKED,
    SLO_BREACHES,
    SPOOL_AGE,
    SPOOL_BYTES,
    SPOOL_EVENTS,
    STAGE_SECONDS,
    TRACKS_ACTIVE,
    TRACKS_STARTED,
    Meter,
)


class PublisherTelemetry:
    """Feeds the publisher's metrics."""

    def __init__(self, meter: Meter, shard: int | None = None) -> None:
        """Wire it.

        Args:
            meter: keeps the numbers.
            shard: the publisher's number, where there are several: then the spool's gauges have it as their label, so
                that they can be summed over the shards, without what a dead process of the same shard left behind.
        """
        self._meter = meter
        self._shard = () if shard is None else (str(shard),)
        labels = ("shard",) * len(self._shard)
        self._gauges = tuple(
            replace(gauge, labels=labels) for gauge in (SPOOL_EVENTS, SPOOL_BYTES, SPOOL_AGE, EVENTS_QUARANTINED)
        )

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        """Count an acknowledged event; seconds from capture, in the spool, and from hand-over to acknowledgement."""
        self._meter.observe(CAPTURE_TO_PUBLISH, total_s, camera_id)
        self._meter.observe(STAGE_SECONDS, spool_s, Stage.SPOOL.value)
        self._meter.observe(STAGE_SECONDS, publish_s, Stage.PUBLISH.value)
        self._meter.add(EVENTS_PUBLISHED, camera_id)
        count = self._meter.add if breach else self._meter.begin  # a series that is not there counts for nothing
        count(SLO_BREACHES, camera_id)

    def tracks(self, camera_id: str, active: int, started: int, late: int) -> None:
        """Count a camera's tracks that began, and its frames that came late for them; set those that it has."""
        self._meter.set(TRACKS_ACTIVE, active, camera_id)
        for counter, count in ((TRACKS_STARTED, started), (FRAMES_UNTRACKED, late)):
            if not count:
                self._meter.begin(counter, camera_id)
            for _ in range(count):
                self._meter.add(counter, camera_id)

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        """Set the gauges: events that wait, their bytes, the age of the oldest in seconds, and events set aside."""
        for gauge, value in zip(self._gauges, (events, size, oldest_s, quarantined), strict=True):
            self._meter.set(gauge, value, *self._shard)
