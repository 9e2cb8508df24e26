"""Every metric, stage and label of Sightline, once (contract, section 6); and the observers that feed them.

The observers are what the plain parts of ``app`` are given, so that they count without knowing who keeps the numbers:
Ray in a cluster (:class:`RayMeter`), a page of its own at a camera on the edge (``app/metrics_page.py``). Prometheus
shows each name with ``ray_`` in front, and counters with ``_total`` behind, of both.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from app.ledger import DropReason

if TYPE_CHECKING:  # a camera on the edge has no Kafka client
    from app.cameras import CameraStatus
    from app.events import DetectionEvent


class Stage(str, enum.Enum):
    """Where a frame's time goes, in the order of its way."""

    ENCODE = "encode"
    TRANSPORT = "transport"
    QUEUE = "queue"
    DECODE = "decode"
    INFERENCE = "inference"
    SPOOL = "spool"
    PUBLISH = "publish"


LATENCY_BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05),
    *(
        0.06,
        0.07,
        0.08,
        0.09,
        0.1,
        0.12,
        0.14,
        0.16,
        0.18,
        0.2,
        0.22,
        0.25,
        0.3,
        0.4,
        0.5,
        0.75,
        1.0,
        2.5,
        10.0,
    ),
)
"""Seconds; fine around the 200 ms budget, since Ray makes a histogram's sum of its buckets' midpoints."""
BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class Metric:
    """One metric: what it is called, and what its series are told apart by."""

    name: str
    """Without ``ray_`` and ``_total``."""
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds, of a histogram only."""


_CAMERA = ("camera_id",)
CAPTURE_TO_PUBLISH = Metric(
    "sightline_capture_to_publish_seconds", "From capture to the broker's acknowledgement.", _CAMERA, LATENCY_BUCKETS_S
)
STAGE_SECONDS = Metric("sightline_stage_seconds", "Where a frame's time goes.", ("stage",), LATENCY_BUCKETS_S)
BATCH_SIZE = Metric("sightline_batch_size", "Frames in one call to a detector.", (), BATCH_BUCKETS)
FRAMES_WAITING = Metric("sightline_frames_waiting", "Frames that wait for a detector, at this ingress replica.")
DETECTIONS = Metric("sightline_detections", "Objects seen.", ("label",))
EVENTS_PUBLISHED = Metric("sightline_events_published", "Events the broker acknowledged.", _CAMERA)
SLO_BREACHES = Metric("sightline_slo_breaches", "Events acknowledged later than the budget.", _CAMERA)
SPOOL_EVENTS = Metric("sightline_spool_events", "Events that wait for Kafka.")
SPOOL_BYTES = Metric("sightline_spool_bytes", "Bytes of the events that wait for Kafka.")
SPOOL_AGE = Metric("sightline_spool_oldest_age_seconds", "Age of the oldest event that waits.")
EVENTS_QUARANTINED = Metric("sightline_events_quarantined", "Events that Kafka refused for good.")
FRAMES_SAMPLED = Metric("sightline_frames_sampled", "Frames picked by the sampling grid.", _CAMERA)
FRAMES_ACCEPTED = Metric("sightline_frames_accepted", "Frames the service answered OK.", _CAMERA)
FRAMES_DROPPED = Metric("sightline_frames_dropped", "Sampled frames that became no event.", (*_CAMERA, "reason"))
FRAMES_IN_FLIGHT = Metric("sightline_frames_in_flight", "Frames sampled and not yet settled.", _CAMERA)
CAMERA_UP = Metric("sightline_camera_up", "Whether the source gives frames.", _CAMERA)
CAMERA_RECONNECTS = Metric("sightline_camera_reconnects", "Times the source was opened again.", _CAMERA)


class Meter(Protocol):
    """Keeps the numbers; ``labels`` are the values of a metric's labels, in their order. Thread-safe."""

    def begin(self, counter: Metric, *labels: str) -> None:
        """Let a counter's series be there, at 0: one that begins with its first count hides that from Prometheus."""

    def add(self, counter: Metric, *labels: str) -> None:
        """Count one."""

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        """Tell what is now."""

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Note one value of many."""


NOTHING = 5e-324
"""The smallest number above 0: Ray takes no smaller increment. Beside any other number it vanishes."""


@cache
def _of_ray(kind: str, metric: Metric) -> Any:
    from ray.util import metrics  # here: a camera on the edge has no Ray

    more = {"boundaries": list(metric.buckets)} if metric.buckets else {}
    return getattr(metrics, kind)(metric.name, metric.text, tag_keys=metric.labels, **more)


class RayMeter:
    """Keeps the numbers in Ray's own metrics of this process."""

    def begin(self, counter: Metric, *labels: str) -> None:
        """Let a counter's series be there."""
        _of_ray("Counter", counter).inc(NOTHING, tags=_tags(counter, labels))

    def add(self, counter: Metric, *labels: str) -> None:
        """Count one."""
        _of_ray("Counter", counter).inc(tags=_tags(counter, labels))

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        """Tell what is now."""
        _of_ray("Gauge", gauge).set(value, tags=_tags(gauge, labels))

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Note one value of many."""
        _of_ray("Histogram", histogram).observe(value, tags=_tags(histogram, labels))


def _tags(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))


class ServiceTelemetry:
    """Feeds the ingress's metrics."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def batch(self, size: int) -> None:
        """Count the frames of one call to a detector."""
        self._meter.observe(BATCH_SIZE, size)

    def waiting(self, frames: int) -> None:
        """Tell how many frames wait for a detector."""
        self._meter.set(FRAMES_WAITING, frames)

    def answered(self, event: DetectionEvent) -> None:
        """Count an accepted frame's objects, and where its time went."""
        for seen in event.objects:
            self._meter.add(DETECTIONS, seen.label)
        spent: Mapping[Stage, float] = {
            Stage.ENCODE: event.latency.encode,
            Stage.TRANSPORT: event.latency.transport,
            Stage.QUEUE: event.latency.queue,
            Stage.DECODE: event.latency.decode,
            Stage.INFERENCE: event.latency.inference,
        }
        for stage, milliseconds in spent.items():
            self._meter.observe(STAGE_SECONDS, milliseconds / 1000, stage.value)


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

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        """Tell how many events wait, their bytes, the age of the oldest in seconds, and how many were set aside."""
        for gauge, value in zip(self._gauges, (events, size, oldest_s, quarantined), strict=True):
            self._meter.set(gauge, value, *self._shard)


class CameraTelemetry:
    """Feeds one camera's metrics."""

    def __init__(self, camera_id: str, meter: Meter) -> None:
        self._id = camera_id
        self._meter = meter
        for reason in DropReason:
            meter.begin(FRAMES_DROPPED, camera_id, reason.value)
        for counter in (FRAMES_SAMPLED, FRAMES_ACCEPTED, CAMERA_RECONNECTS):
            meter.begin(counter, camera_id)

    def sampled(self) -> None:
        """Count a sampled frame."""
        self._meter.add(FRAMES_SAMPLED, self._id)

    def accepted(self) -> None:
        """Count an accepted frame."""
        self._meter.add(FRAMES_ACCEPTED, self._id)

    def dropped(self, reason: DropReason) -> None:
        """Count a dropped frame."""
        self._meter.add(FRAMES_DROPPED, self._id, reason.value)

    def in_flight(self, frames: int) -> None:
        """Tell how many frames are sampled and not yet settled."""
        self._meter.set(FRAMES_IN_FLIGHT, frames, self._id)

    def up(self, live: bool) -> None:
        """Tell whether the source gives frames."""
        self._meter.set(CAMERA_UP, int(live), self._id)

    def reconnected(self) -> None:
        """Count a new try to open the source."""
        self._meter.add(CAMERA_RECONNECTS, self._id)


class ToldTelemetry:
    """Feeds one camera's metrics with what its actor tells of itself, over all its lives."""

    def __init__(self, telemetry: CameraTelemetry) -> None:
        self._telemetry = telemetry
        self._counters = {
            "sampled": telemetry.sampled,
            "accepted": telemetry.accepted,
            "reconnected": telemetry.reconnected,
        }
        self._told: CameraStatus | None = None

    def tell(self, status: CameraStatus | None) -> None:
        """Count what happened since the last status; none: it does not answer.

        To be called again and again: Ray forgets a gauge that is not set.
        """
        self._telemetry.up(status is not None and status.state == "live")
        if status is None:
            return
        self._telemetry.in_flight(status.ledger.in_flight)
        for what, count in counted_since(self._told, status).items():
            for _ in range(count):
                self._count(what)
        self._told = status

    def _count(self, what: str | DropReason) -> None:
        if isinstance(what, DropReason):
            self._telemetry.dropped(what)
        else:
            self._counters[what]()


def counted_since(before: CameraStatus | None, now: CameraStatus) -> Mapping[str | DropReason, int]:
    """Give what a camera counted since an earlier status, without zeros; a new life counts from zero."""
    same_life = before is not None and before.epoch == now.epoch
    earlier = _counts(before) if before is not None and same_life else {}
    return {what: count - earlier.get(what, 0) for what, count in _counts(now).items() if count > earlier.get(what, 0)}


def _counts(status: CameraStatus) -> dict[str | DropReason, int]:
    ledger = status.ledger
    counts: dict[str | DropReason, int] = {
        "sampled": ledger.sampled,
        "accepted": ledger.accepted,
        "reconnected": status.reconnects,
    }
    for reason, count in ledger.dropped.items():
        counts[reason] = count
    return counts
