"""Cameras of a local cluster that are changed over the HTTP API or by their file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from tests.support.ray_cluster import Service
from tests.support.waiting import wait_for

STREET = "synthetic://street?seed=7&width=640&height=360"


STEADY_FPS = 4


def listed(**fps: float) -> list[dict[str, object]]:
    """Return cameras as a cameras file lists them."""
    return [{"id": camera_id, "url": STREET, "fps": rate} for camera_id, rate in fps.items()]


class Cameras:
    """The HTTP API, as a program asks it."""

    def __init__(self, address: str, file: Path, settings: Path) -> None:
        self._address = f"{address}/api/v1/cameras"
        self._file = file
        self._settings = settings

    def deploy(self, **user_config: object) -> None:
        """Do what ``serve deploy`` has Serve do."""
        application = {
            "name": "cameras",
            "route_prefix": "/",
            "import_path": "deployments.graph:build_cameras",
            "args": {"settings": str(self._settings)},
            "deployments": [{"name": "CameraManager", "user_config": user_config}],
        }
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}))

    def ask(self, method: str, path: str = "", expect: int = 200, **body: object) -> Any:
        answer = httpx.request(method, self._address + path, json=body or None, timeout=40)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def all(self) -> dict[str, dict[str, Any]]:
        """Return every camera; none while nobody answers."""
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            return {camera["id"]: camera for camera in self.ask("GET")}
        return {}

    def working(self, *ids: str, timeout_s: float = 90) -> dict[str, dict[str, Any]]:
        """Wait until there are these cameras and no others, and frames of each are accepted."""

        def all_work() -> dict[str, dict[str, Any]]:
            now = self.all()
            works = set(now) == set(ids) and all((one["ledger"] or {}).get("accepted") for one in now.values())
            return now if works else {}

        return wait_for(all_work, timeout_s, f"accepted frames of {', '.join(ids)}")

    def wait_for_fps(self, camera_id: str, fps: float) -> None:
        """Wait until a camera runs as it is to."""
        wait_for(lambda: self.all().get(camera_id, {}).get("fps_asked") == fps, 60, f"{fps} fps of {camera_id}")

    def write(self, **fps: float) -> None:
        """Write the cameras file."""
        self._file.write_text(yaml.safe_dump({"cameras": listed(**fps)}))


@pytest.fixture
def cameras(service: Service, http_port: int, write_settings: Callable[..., Path], tmp_path: Path) -> Iterator[Cameras]:
    file = tmp_path / "cameras.yaml"
    settings = write_settings(inference_service_url=service.target, cameras=str(file), latency_budget_ms=5000)
    made = Cameras(f"http://127.0.0.1:{http_port}", file, settings)
    made.write(steady=STEADY_FPS, yard=2)
    made.deploy()
    made.working("steady", "yard")
    yield made
    with contextlib.suppress(Exception):
        serve.delete("cameras")
