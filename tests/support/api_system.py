"""A stand-in of the system below the HTTP API: one camera, which counts how often it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.cameras import (
    AnsweredFrame,
    CameraState,
    CameraStatus,
    Cursor,
    DroppedLately,
    FrameLatency,
    NewFrames,
    Picture,
)
from app.cameras.ledger import CameraLedger, DropReason
from app.core.event import DetectedObject
from app.core.quantiles import Quantiles
from app.errors import DeliveryUnavailable
from app.fleet import Origin
from app.publisher import EvidenceAnswer, IncidentQuery, PublisherSnapshot, RuleCount
from app.settings.cameras import camera_of
from app.web import (
    BrokerFacts,
    CameraFacts,
    DeploymentFacts,
    Health,
    Incidents,
    LoadFacts,
    Readings,
    SystemFacts,
)
from tests.support.fleet import Shards, desired_rules

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


ASKED = camera_of({"id": "gate", "url": "rtsp://viewer:pa55@gate.example/1", "fps": 5, "resources": {"edge": 0.5}})


FINE = FrameLatency(1, 2, 3, 4, 5, 6, 21)


SLOW = FrameLatency(1, 250, 3, 4, 5, 6, 269)


def status(
    state: CameraState = CameraState.LIVE, reason: str = "", delivered: float = 5.0, lately: DroppedLately | None = None
) -> CameraStatus:
    ledger = CameraLedger()
    for _ in range(10):
        ledger.sample()
    ledger.accept()
    for _ in range(3):
        ledger.drop(DropReason.DEADLINE)
    return CameraStatus(
        id="gate",
        url="rtsp://viewer:***@gate.example/1",
        state=state,
        reason=reason,
        since=NOW,
        epoch=7,
        ledger=ledger.snapshot(),
        width=640,
        height=360,
        fps_asked=5.0,
        fps_measured=5.0,
        round_trip_ms=20.0,
        reconnects=2,
        fps_delivered=delivered,
        fps_sent=delivered + 0.1,
        dropped_lately=lately or DroppedLately(),
    )


def camera(
    reported: CameraStatus | None, latencies: tuple[FrameLatency, ...] = (FINE,), restarts: int = 0
) -> CameraFacts:
    return CameraFacts(
        "gate",
        "rtsp://viewer:***@gate.example/1",
        5.0,
        reported,
        "its process died",
        NOW,
        latencies,
        restarts,
        ASKED,
        Origin.CONFIGURED,
    )


def behind(dropped: dict[DropReason, int], held_back: int = 0) -> CameraFacts:
    return camera(status(delivered=1.0, lately=DroppedLately(dropped, held_back)))


PUBLISHER = PublisherSnapshot(
    accepted=9, published=7, spooled=2, quarantined=0, discarded=0, destroyed=0, spool_bytes=800, oldest_s=3.04,
    in_flight=0, failed=0, out_of_order=0, repeated=0, breaches=1, by_camera={"gate": 7},
    latency=Quantiles(7, 20.0, 40.0, 60.0), trouble="",
)  # fmt: skip


class Found:
    """Stands in for the publisher's shards: incidents and counts."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] | None = []
        """The incidents; ``None``: the publisher is away."""
        self.counted: list[RuleCount] = []
        self.asked: list[object] = []
        self.pictures: dict[str, EvidenceAnswer] = {}

    async def incidents(self, query: IncidentQuery) -> Sequence[Mapping[str, Any]] | None:
        self.asked.append(query)
        return self.bodies

    async def evidence(self, anomaly_id: str, kind: str, signed: bool) -> EvidenceAnswer | None:
        self.asked.append((anomaly_id, kind, signed))
        if self.bodies is None:
            raise DeliveryUnavailable("away")
        return self.pictures.get(anomaly_id)

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> Sequence[RuleCount] | None:
        self.asked.append((rule, from_ms, to_ms, step_ms))
        return None if self.bodies is None else self.counted


class System:
    """A system with one camera, which counts how often it is asked."""

    def __init__(self, camera_facts: CameraFacts | None = None, picture: bool = True) -> None:
        self.camera_ids: Sequence[str] = ("gate",)
        self.token: str | None = None
        self.readings = Readings(self)
        self.found = Found()
        self.incidents = Incidents(self.found)
        self.rules = desired_rules(Shards(), Path("/nowhere"))
        self.pictures = 0
        self._camera = camera_facts or camera(status())
        self._picture = picture

    async def health(self) -> Health:
        return Health(True)

    def objects(self, number: int) -> tuple[DetectedObject, ...]:
        """Return what is detected in a frame, by its number."""
        return (DetectedObject("car", 2, 0.91234, (1.006, 2.0, 3.0, 4.0)),)

    async def new_frames(self, after: Mapping[str, Cursor]) -> Sequence[NewFrames]:
        number = after["gate"].number + 1
        seen = AnsweredFrame(
            number=number,
            camera_id="gate",
            frame_id=f"7-{number}",
            event_id=f"event-{number}",
            captured_at=NOW,
            width=640,
            height=360,
            model="street.pt",
            objects=self.objects(number),
            latency=FINE,
        )
        return [NewFrames("gate", 7, (seen,))]

    async def picture(self, camera_id: str) -> Picture | None:
        self.pictures += 1
        await asyncio.sleep(0)
        return Picture(camera_id, "7-1", NOW, True, b"jpeg") if self._picture else None

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        return SystemFacts(
            at=NOW,
            budget_ms=200,
            cameras=(self._camera,),
            publisher=PUBLISHER if seconds is None else replace(PUBLISHER, latency=Quantiles(1, seconds, 0, 0)),
            deployments=(DeploymentFacts("inference", "ObjectDetector", 1, 0, "healthy"),),
            load=LoadFacts(1, 2, 3),
            broker=BrokerFacts(True, True, (), "events.detections"),
            viewers=viewers,
            rules_trouble=self.rules.trouble,
            rules_version=self.rules.version,
        )
