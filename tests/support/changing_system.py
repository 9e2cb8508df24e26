"""A stand-in of the system below the HTTP API whose cameras can be changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from app.settings.cameras import CameraSettings
from app.web import SystemFacts, build_api
from tests.support.api_system import System, camera
from tests.support.fleet import Runner, Shards, desired_rules, fleet
from tests.support.fleet import camera as wanted

GATE = wanted("gate", "rtsp://viewer:pa55@gate.example/1", fps=5)


STOP: dict[str, object] = {"id": "stop", "type": "stopped", "cameras": ["gate*"]}


class Changing(System):
    """A system whose cameras and rules can be changed."""

    def __init__(self, folder: Path, *cameras: CameraSettings) -> None:
        super().__init__()
        self.runner = Runner()
        self.changes = fleet(self.runner, folder, *cameras)
        self.shards = Shards()
        self.rules = desired_rules(self.shards, folder, STOP)

    @property
    def camera_ids(self) -> list[str]:
        return [one.settings.id for one in self.changes.desired]

    @camera_ids.setter
    def camera_ids(self, _ids: object) -> None:
        pass

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        reported = tuple(
            replace(
                camera(None), id=one.settings.id, url=str(one.settings.url), requested=one.settings, origin=one.origin
            )
            for one in self.changes.desired
        )
        return replace(await super().facts(viewers, seconds), cameras=reported)


async def ask_system(system: Changing, method: str, path: str, client: str = "127.0.0.1", **how: Any) -> httpx.Response:
    """Ask the HTTP API of a system, as a client with this address."""
    transport = httpx.ASGITransport(build_api(lambda: system), client=(client, 5), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as asking:
        return await asking.request(method, path, **how)
