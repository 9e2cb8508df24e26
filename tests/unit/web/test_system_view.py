"""What the HTTP API answers is gathered from cameras and cluster, with what does not answer left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from app.cameras import CameraState, CameraStatus, Cursor, NewFrames, Picture
from app.cameras.status import Blocked, ServiceTrouble
from app.fleet import Origin
from app.fleet.status_line import Observation
from app.fleet.supervisor import CameraReport, SupervisedCamera
from app.publisher import PublisherSnapshot
from app.settings.cameras import CameraSettings
from app.web import BrokerFacts, DeploymentFacts, LoadFacts
from app.web.system_view import SystemView, health_of
from tests.support.api_system import FINE, NOW, PUBLISHER, status
from tests.support.fleet import Runner, Shards, camera, desired_rules, fleet

BROKER = BrokerFacts(enabled=True, embedded=True, servers=(), topic="events.detections")
GATE, YARD = camera("gate", fps=2), camera("yard")


@dataclass
class Watched:
    """A camera that answers, or does not."""

    settings: CameraSettings
    answers: bool = True

    async def status(self) -> CameraStatus | None:
        return replace(status(), id=self.settings.id) if self.answers else None

    async def snapshot(self) -> SupervisedCamera:
        current = await self.status()
        report = CameraReport(current, (FINE,)) if current else None
        return SupervisedCamera(self.settings, report, "its process died", NOW, restarts=3)

    async def picture(self) -> Picture | None:
        return None

    async def ask(self, method: str, *arguments: object) -> Any:
        assert method == "new_frames"
        return NewFrames(self.settings.id, 1, ()) if self.answers else None


class Cluster:
    """A cluster whose publisher may be away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.asked: list[float | None] = []

    async def publisher(self, seconds: float | None = None) -> PublisherSnapshot | None:
        self.asked.append(seconds)
        return None if self.away else PUBLISHER

    async def load(self) -> LoadFacts | None:
        return LoadFacts(1, 2, 3)

    async def deployments(self) -> tuple[DeploymentFacts, ...]:
        return ()


def view(folder: Path, running: dict[str, Watched], cluster: Cluster | None = None) -> SystemView:
    cameras = fleet(Runner(), folder, GATE, YARD)
    return SystemView(
        cameras,
        desired_rules(Shards(), folder, {"id": "stop", "type": "stopped"}),
        running,
        cluster or Cluster(),
        BROKER,
        budget_ms=lambda: 150.0,
        trouble=lambda: "a mistake",
        rules_trouble=lambda: "a wrong rule",
    )


async def test_a_camera_that_runs_is_described_by_its_supervisor_and_one_that_waits_by_its_settings(tmp_path: Path):
    cluster = Cluster()
    facts = await view(tmp_path, {"gate": Watched(GATE)}, cluster).facts(4, 30.0)
    gate, yard = facts.cameras
    assert (gate.status is not None, gate.latencies, gate.restarts, gate.fps_asked) == (True, (FINE,), 3, 2.0)
    assert (yard.status, yard.silence) == (None, "waiting for the inference application")
    assert (yard.fps_asked, yard.requested.fps, yard.origin) == (5.0, None, Origin.CONFIGURED)
    assert (facts.budget_ms, facts.viewers, facts.cameras_trouble, cluster.asked) == (150.0, 4, "a mistake", [30.0])
    assert facts.rules_trouble == "a wrong rule"
    assert facts.rules_version


async def test_only_cameras_that_answer_give_frames_and_only_where_somebody_asks_for_them(tmp_path: Path):
    running = {"gate": Watched(GATE), "yard": Watched(YARD, answers=False)}
    seen = view(tmp_path, running)
    both = {"gate": Cursor(), "yard": Cursor()}
    assert [frames.camera_id for frames in await seen.new_frames(both)] == ["gate"]
    assert await seen.new_frames({"yard": Cursor()}) == []
    assert await seen.picture("nobody") is None


async def test_a_system_whose_cameras_are_live_and_whose_publisher_answers_is_ready(tmp_path: Path):
    running = {"gate": Watched(GATE), "yard": Watched(YARD)}
    assert (await view(tmp_path, running).health()).ready
    assert not (await view(tmp_path, running, Cluster(away=True)).health()).ready


BLOCKED = replace(status(), blocked=Blocked(ServiceTrouble.FULL, "", NOW))


@pytest.mark.parametrize(
    ("cameras", "publisher", "reasons"),
    [
        ([status()], PUBLISHER, ()),
        ([status(CameraState.ENDED)], PUBLISHER, ()),
        ([status(CameraState.OFFLINE, "no route")], PUBLISHER, ("camera gate is offline: no route",)),
        ([BLOCKED], PUBLISHER, ("camera gate is blocked: the service is full",)),
        ([], PUBLISHER, ("1 cameras are being started",)),
        ([status()], None, ("the inference application is not available",)),
    ],
)
def test_each_reason_not_to_be_ready_is_named(
    cameras: list[CameraStatus], publisher: PublisherSnapshot | None, reasons: tuple[str, ...]
):
    health = health_of(Observation(0.0, cameras, publisher, frozenset({"gate"})))
    assert (health.ready, health.reasons) == (not reasons, reasons)
