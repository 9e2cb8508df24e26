"""PublisherTelemetry: the metrics of the publisher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.core.stage import Stage
from app.publisher.spool.analysis import Judged
from app.telemetry.metrics import (
    ANOMALIES,
    CAPTURE_TO_PUBLISH,
    CROSSINGS,
    EVENTS_PUBLISHED,
    EVENTS_QUARANTINED,
    FRAMES_UNTRACKED,
    OUTBOX_RECORDS,
    SLO_BREACHES,
    SPOOL_AGE,
    SPOOL_BYTES,
    SPOOL_EVENTS,
    STAGE_SECONDS,
    TRACKS_ACTIVE,
    TRACKS_STARTED,
    ZONE_OBJECTS,
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
        self._outbox = replace(OUTBOX_RECORDS, labels=(*OUTBOX_RECORDS.labels, *labels))
        self._zones: dict[str, Mapping[str, int]] = {}
        """Objects in the zones of each camera, by rule, as they were set last."""
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
            self._meter.add(counter, camera_id, count=count)

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        """Set the gauges: events that wait, their bytes, the age of the oldest in seconds, and events set aside."""
        for gauge, value in zip(self._gauges, (events, size, oldest_s, quarantined), strict=True):
            self._meter.set(gauge, value, *self._shard)

    def outbox(self, channel: str, waiting: int) -> None:
        """Set the gauge of the records that wait for another topic."""
        self._meter.set(self._outbox, waiting, channel, *self._shard)

    def judged(self, camera_id: str, judged: Judged) -> None:
        """Count transitions and crossings; set what changed of the objects in zones."""
        for one in judged.transitions:
            self._meter.add(ANOMALIES, camera_id, one.rule, one.state)
            if one.state == "instant" and one.direction:
                self._meter.add(CROSSINGS, camera_id, one.rule, one.direction, one.label)
        now = judged.zone_objects
        if now is None or now == self._zones.get(camera_id, {}):
            return
        before = self._zones.get(camera_id, {})
        for rule in before.keys() - now.keys():
            self._meter.set(ZONE_OBJECTS, 0, camera_id, rule)
        for rule, count in now.items():
            if before.get(rule) != count:
                self._meter.set(ZONE_OBJECTS, count, camera_id, rule)
        self._zones[camera_id] = now
