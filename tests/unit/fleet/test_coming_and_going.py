"""Cameras, each of an id of its own, come and go: nothing of them stays in what the manager is made of."""

from __future__ import annotations

import gc
import itertools
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from app.cameras import CameraStatus, Cursor, NewFrames
from app.cameras.telemetry import CameraTelemetry, ReportedTelemetry
from app.fleet import Fleet, Reconciler, camera_store
from app.fleet.placement import Node, Placement
from app.fleet.status_line import Observation, StatusLine
from app.settings.cameras import CameraSettings
from app.telemetry.metrics import Metric
from app.web import SystemFacts, build_api
from app.web.event_hub import EventHub
from tests.support.api_system import PUBLISHER, System, camera, status
from tests.support.fleet import camera as wanted
from tests.support.fleet import configured

WARM_UP, CAMERAS = 150, 100
"""Caches of the standard library hold 128 of this and that: the first cameras fill them."""
NODES = (Node("one", {}), Node("two", {}))


class NoMeter:
    """Keeps no numbers: Ray's own stay, whatever becomes of a camera."""

    def begin(self, counter: Metric, *labels: str) -> None:
        pass

    def add(self, counter: Metric, *labels: str, count: int = 1) -> None:
        pass

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        pass

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        pass


class Watch:
    """Does what a camera's watch does, but for the actor."""

    def __init__(self, settings: CameraSettings, places: Placement) -> None:
        self.settings = settings
        self._places = places
        self._telemetry = ReportedTelemetry(CameraTelemetry(settings.id, NoMeter()))
        self._places.place(settings, NODES)

    def status(self) -> CameraStatus:
        reported = replace(status(), id=self.settings.id)
        self._telemetry.report(reported)
        return reported

    async def stop(self) -> CameraStatus:
        self._places.remove(self.settings.id)
        return self.status()


class Manager(System):
    """A manager without Ray, of the parts that the real one is made of."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        seconds = itertools.count()
        self.readings.hub = EventHub(self, lambda: float(next(seconds)))  # each look collects anew
        places = Placement()
        self._roster = Reconciler(lambda settings: Watch(settings, places))
        self._reporter = StatusLine(200)
        self.changes = Fleet(configured(wanted("gate")), camera_store(folder), self._roster, 5)
        self._roster.start()

    @property
    def camera_ids(self) -> list[str]:
        return [one.settings.id for one in self.changes.desired]

    @camera_ids.setter
    def camera_ids(self, _ids: object) -> None:
        pass

    async def new_frames(self, after: Mapping[str, Cursor]) -> Sequence[NewFrames]:
        """Report one frame of each camera, once."""
        (news,) = await super().new_frames({"gate": Cursor()})
        return [
            replace(news, camera_id=name, frames=tuple(replace(one, camera_id=name) for one in news.frames))
            for name, cursor in after.items()
            if not cursor.number
        ]

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        reported = tuple(
            replace(camera(watch.status()), id=name, requested=watch.settings)
            for name, watch in self._roster.running.items()
        )
        return replace(await super().facts(viewers, seconds), cameras=reported)

    def report(self) -> None:
        statuses = [watch.status() for watch in self._roster.running.values()]
        self._reporter.line(Observation(0.0, statuses, PUBLISHER, frozenset(self.camera_ids)))


async def come_and_go(manager: Manager, api: httpx.AsyncClient, camera_id: str) -> None:
    added = await api.post("/cameras", json={"id": camera_id, "url": "rtsp://viewer:pa55@gate.example/1"})
    assert added.status_code == 201
    await look(manager, api, camera_id)
    removed = await api.delete(f"/cameras/{camera_id}")
    assert removed.status_code == 200
    await look(manager, api, "gate")


async def look(manager: Manager, api: httpx.AsyncClient, camera_id: str) -> None:
    """Ask for all there is of a camera."""
    for path in (f"/cameras/{camera_id}", f"/cameras/{camera_id}/frame.jpg", "/status", f"/events?camera={camera_id}"):
        answer = await api.get(path)
        assert answer.status_code == 200, path
    manager.report()


@dataclass(frozen=True)
class Held:
    objects: int
    """Those that Python's collector knows."""
    blocks: int
    """Of memory that Python gave out: numbers and texts too."""


def held() -> Held:
    gc.collect()
    return Held(len(gc.get_objects()), sys.getallocatedblocks())


async def test_of_cameras_that_came_and_went_nothing_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for logger in ("ray.serve", "httpx"):
        caplog.set_level(logging.WARNING, logger)  # pytest keeps each line that is written
    manager = Manager(tmp_path)
    await manager.changes.open(0)
    transport = httpx.ASGITransport(build_api(lambda: manager), client=("127.0.0.1", 5))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000/api/v1") as api:
        await look(manager, api, "gate")
        for number in range(WARM_UP):
            await come_and_go(manager, api, f"early-{number}")
        before = held()
        for number in range(CAMERAS):
            await come_and_go(manager, api, f"late-{number}")
        after = held()
    await manager.changes.close()
    assert after.objects - before.objects < CAMERAS / 2  # what else lives in the process comes and goes
    assert after.blocks - before.blocks < 2 * CAMERAS  # pydantic keeps the last 16,384 short texts, so each id
