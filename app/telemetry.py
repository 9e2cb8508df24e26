"""Every metric, stage and label of Sightline, once (contract, section 6); and the observers that feed them.

The observers are what the plain parts of ``app`` are given, so that they count without knowing Ray. Prometheus shows
each name with ``ray_`` in front, and counters with ``_total`` behind.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cache

from ray.util.metrics import Counter, Gauge, Histogram

from app.cameras import CameraState, CameraStatus
from app.events import DetectionEvent
from app.ledger import DropReason


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


@cache
def capture_to_publish() -> Histogram:
    """Capture to the broker's acknowledgement, seconds."""
    return Histogram(
        "sightline_capture_to_publish_seconds",
        "From capture to the broker's acknowledgement.",
        boundaries=list(LATENCY_BUCKETS_S),
        tag_keys=("camera_id",),
    )


@cache
def stage_seconds() -> Histogram:
    """Time by stage, seconds."""
    return Histogram(
        "sightline_stage_seconds",
        "Where a frame's time goes.",
        boundaries=list(LATENCY_BUCKETS_S),
        tag_keys=("stage",),
    )


@cache
def batch_size() -> Histogram:
    """Frames in one call to a detector."""
    return Histogram("sightline_batch_size", "Frames in one call to a detector.", boundaries=list(BATCH_BUCKETS))


@cache
def camera_counter(name: str, text: str) -> Counter:
    """A counter by camera."""
    return Counter(name, text, tag_keys=("camera_id",))


@cache
def camera_gauge(name: str, text: str) -> Gauge:
    """A gauge by camera."""
    return Gauge(name, text, tag_keys=("camera_id",))


@cache
def gauge(name: str, text: str) -> Gauge:
    """A gauge of the whole system."""
    return Gauge(name, text)


@cache
def frames_dropped() -> Counter:
    """Frames that became no event."""
    return Counter("sightline_frames_dropped", "Sampled frames that became no event.", tag_keys=("camera_id", "reason"))


@cache
def detections() -> Counter:
    """Objects seen."""
    return Counter("sightline_detections", "Objects seen.", tag_keys=("label",))


class ServiceTelemetry:
    """Feeds the ingress's metrics."""

    def batch(self, size: int) -> None:
        """Count the frames of one call to a detector."""
        batch_size().observe(size)

    def answered(self, event: DetectionEvent) -> None:
        """Count an accepted frame's objects, and where its time went."""
        for seen in event.objects:
            detections().inc(tags={"label": seen.label})
        spent: Mapping[Stage, float] = {
            Stage.ENCODE: event.latency.encode,
            Stage.TRANSPORT: event.latency.transport,
            Stage.QUEUE: event.latency.queue,
            Stage.DECODE: event.latency.decode,
            Stage.INFERENCE: event.latency.inference,
        }
        for stage, milliseconds in spent.items():
            stage_seconds().observe(milliseconds / 1000, tags={"stage": stage.value})


class PublisherTelemetry:
    """Feeds the publisher's metrics."""

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        """Count an acknowledged event; seconds from capture, in the spool, and from hand-over to acknowledgement."""
        tags = {"camera_id": camera_id}
        capture_to_publish().observe(total_s, tags=tags)
        stage_seconds().observe(spool_s, tags={"stage": Stage.SPOOL.value})
        stage_seconds().observe(publish_s, tags={"stage": Stage.PUBLISH.value})
        camera_counter("sightline_events_published", "Events the broker acknowledged.").inc(tags=tags)
        breaches = camera_counter("sightline_slo_breaches", "Events acknowledged later than the budget.")
        breaches.inc(1 if breach else NOTHING, tags=tags)  # a series that is not there counts for nothing in a rate

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        """Tell how many events wait, their bytes, the age of the oldest in seconds, and how many were set aside."""
        gauge("sightline_spool_events", "Events that wait for Kafka.").set(events)
        gauge("sightline_spool_bytes", "Bytes of the events that wait for Kafka.").set(size)
        gauge("sightline_spool_oldest_age_seconds", "Age of the oldest event that waits.").set(oldest_s)
        gauge("sightline_events_quarantined", "Events that Kafka refused for good.").set(quarantined)


_CAMERA_COUNTERS = {
    "sightline_frames_sampled": "Frames picked by the sampling grid.",
    "sightline_frames_accepted": "Frames the service answered OK.",
    "sightline_camera_reconnects": "Times the source was opened again.",
}
NOTHING = 5e-324
"""The smallest number above 0: Ray takes no smaller increment. Beside any other number it vanishes."""


class CameraTelemetry:
    """Feeds one camera's metrics with what its actor tells of itself, over all its lives."""

    def __init__(self, camera_id: str) -> None:
        self._tags = {"camera_id": camera_id}
        self._told: CameraStatus | None = None
        self._begin()

    def _begin(self) -> None:
        """Let every series be there from the start: what begins with its first count hides that from Prometheus."""
        for reason in DropReason:
            frames_dropped().inc(NOTHING, tags={**self._tags, "reason": reason.value})
        for name, text in _CAMERA_COUNTERS.items():
            camera_counter(name, text).inc(NOTHING, tags=self._tags)

    def tell(self, status: CameraStatus | None) -> None:
        """Count what happened since the last status; none: it does not answer.

        To be called again and again: Ray forgets a gauge that is not set.
        """
        live = status is not None and status.state is CameraState.LIVE
        camera_gauge("sightline_camera_up", "Whether the source gives frames.").set(int(live), tags=self._tags)
        if status is None:
            return
        in_flight = camera_gauge("sightline_frames_in_flight", "Frames sampled and not yet settled.")
        in_flight.set(status.ledger.in_flight, tags=self._tags)
        for name, count in counted_since(self._told, status).items():
            if isinstance(name, DropReason):
                frames_dropped().inc(count, tags={**self._tags, "reason": name.value})
            else:
                camera_counter(name, _CAMERA_COUNTERS[name]).inc(count, tags=self._tags)
        self._told = status


def counted_since(before: CameraStatus | None, now: CameraStatus) -> Mapping[str | DropReason, int]:
    """Give what a camera counted since an earlier status, by counter or reason, without zeros; a new life from zero."""
    same_life = before is not None and before.epoch == now.epoch
    earlier = _counts(before) if before is not None and same_life else {}
    return {name: count - earlier.get(name, 0) for name, count in _counts(now).items() if count > earlier.get(name, 0)}


def _counts(status: CameraStatus) -> dict[str | DropReason, int]:
    counts: dict[str | DropReason, int] = {
        "sightline_frames_sampled": status.ledger.sampled,
        "sightline_frames_accepted": status.ledger.accepted,
        "sightline_camera_reconnects": status.reconnects,
    }
    for reason, count in status.ledger.dropped.items():
        counts[reason] = count
    return counts
