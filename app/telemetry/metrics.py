"""Every metric of Sightline, once (``configs/prometheus/README.md``, "Metrics"); and Meter, which records them.

A meter is passed in, so that what is measured does not depend on who exports it: Ray in a cluster
(``deployments/metrics.py``), a page of its own for a camera on the edge (``prometheus_page.py``). Both export each name
with the prefix ``ray_``, and counters with the suffix ``_total``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LATENCY_BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.07),
    *(0.08, 0.09, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 10.0),
)
"""Seconds; fine around the 200 ms budget, since Ray computes a histogram's sum from its buckets' midpoints."""
BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class Metric:
    """One metric: its name, its help text and the labels of its series."""

    name: str
    """Without ``ray_`` and ``_total``."""
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds, for a histogram only."""


_CAMERA = ("camera_id",)
CAPTURE_TO_PUBLISH = Metric(
    "sightline_capture_to_publish_seconds", "From capture to the broker's acknowledgement.", _CAMERA, LATENCY_BUCKETS_S
)
STAGE_SECONDS = Metric("sightline_stage_seconds", "Where a frame's time goes.", ("stage",), LATENCY_BUCKETS_S)
BATCH_SIZE = Metric("sightline_batch_size", "Frames in one call to a detector.", (), BATCH_BUCKETS)
FRAMES_WAITING = Metric("sightline_frames_waiting", "Frames that wait for a detector, at this ingress replica.")
DETECTIONS = Metric("sightline_detections", "Objects detected.", ("label",))
FRAMES_TRUNCATED = Metric("sightline_frames_truncated", "Frames that reached the limit of detections.", _CAMERA)
EVENTS_PUBLISHED = Metric("sightline_events_published", "Events the broker acknowledged.", _CAMERA)
SLO_BREACHES = Metric("sightline_slo_breaches", "Events acknowledged later than the budget.", _CAMERA)
SPOOL_EVENTS = Metric("sightline_spool_events", "Events that wait for Kafka.")
SPOOL_BYTES = Metric("sightline_spool_bytes", "Bytes of the events that wait for Kafka.")
SPOOL_AGE = Metric("sightline_spool_oldest_age_seconds", "Age of the oldest event that waits.")
EVENTS_QUARANTINED = Metric("sightline_events_quarantined", "Events that Kafka refused for good.")
TRACKS_ACTIVE = Metric("sightline_tracks_active", "Objects that are followed and have an id.", _CAMERA)
TRACKS_STARTED = Metric("sightline_tracks_started", "Objects that got an id.", _CAMERA)
FRAMES_UNTRACKED = Metric(
    "sightline_frames_untracked", "Frames captured no later than the one before, whose objects got no ids.", _CAMERA
)
OUTBOX_RECORDS = Metric("sightline_outbox_records", "Records that wait for another topic.", ("channel",))
ANOMALIES = Metric("sightline_anomalies", "Transitions of incidents.", (*_CAMERA, "rule", "state"))
CROSSINGS = Metric("sightline_crossings", "Crossings of lines.", (*_CAMERA, "rule", "direction", "label"))
ZONE_OBJECTS = Metric("sightline_zone_objects", "Objects in a rule's zone.", (*_CAMERA, "rule"))
EVIDENCE_ASKED = Metric("sightline_evidence_asked", "Pictures and clips of incidents that rules asked for.")
EVIDENCE_STORED = Metric("sightline_evidence_stored", "Pictures and clips that the store has.")
EVIDENCE_LOST = Metric(
    "sightline_evidence_lost", "Pictures and clips that were given up or could not be made.", ("reason",)
)
EVIDENCE_SPOOLED = Metric("sightline_evidence_spooled", "Pictures and clips in the evidence spool.")
EVIDENCE_BYTES = Metric("sightline_evidence_spooled_bytes", "Bytes of the evidence spool.")
EVIDENCE_AGE = Metric("sightline_evidence_oldest_age_seconds", "Age of the oldest piece in the evidence spool.")
EVIDENCE_FAILING = Metric("sightline_evidence_failing", "Whether the store of evidence took nothing at the last try.")
FRAMES_SAMPLED = Metric("sightline_frames_sampled", "Frames picked by the sampling grid.", _CAMERA)
FRAMES_ACCEPTED = Metric("sightline_frames_accepted", "Frames the service answered OK.", _CAMERA)
FRAMES_DROPPED = Metric("sightline_frames_dropped", "Sampled frames that became no event.", (*_CAMERA, "reason"))
FRAMES_IN_FLIGHT = Metric("sightline_frames_in_flight", "Frames sampled and not yet settled.", _CAMERA)
CAMERA_UP = Metric("sightline_camera_up", "Whether the source gives frames.", _CAMERA)
CAMERA_RECONNECTS = Metric("sightline_camera_reconnects", "Times the source was opened again.", _CAMERA)


class Meter(Protocol):
    """Records metrics; ``labels`` are the values of the metric's labels, in their order. Thread-safe."""

    def begin(self, counter: Metric, *labels: str) -> None:
        """Create a counter's series at 0: Prometheus misses the first increment of a series that begins with it."""

    def add(self, counter: Metric, *labels: str, count: int = 1) -> None:
        """Increment a counter, by one unless said otherwise."""

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        """Set the current value of a gauge."""

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Record one value in a histogram."""
