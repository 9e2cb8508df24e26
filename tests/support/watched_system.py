"""One running system that people look at: by the page, the commands, the metrics and Prometheus."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.http_server import HttpServer
from tests.support.paths import ROOT
from tests.support.system import System
from tests.support.waiting import wait_for

STEADY, SOURCE = "street-east", "gate"
"""A camera that goes on, and one whose source the tests take away."""


@dataclass(frozen=True)
class Watched:
    """The running system, and where it is asked."""

    system: System
    config: Path
    api: str
    ray: Path
    """Ray's own folder."""
    source: HttpServer
    """What the camera ``gate`` looks at."""

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.api + path, headers=headers, timeout=30)

    def status(self) -> dict[str, Any]:
        answer = self.get("/api/v1/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def camera(self, camera_id: str) -> dict[str, Any]:
        return dict(self.get(f"/api/v1/cameras/{camera_id}").json())

    def wait_for_state(self, camera_id: str, *states: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            camera = self.camera(camera_id)
            return camera if camera["state"] in states else None

        return wait_for(there, 60, f"{camera_id} {' or '.join(states)}")

    @property
    def targets(self) -> Path:
        """Ray's list of the pages that Prometheus scrapes."""
        return self.ray / "prom_metrics_service_discovery.json"

    def metrics_pages(self) -> list[str]:
        """Return the addresses that Prometheus scrapes."""
        groups = json.loads(self.targets.read_text())
        return [f"http://{target}/metrics" for group in groups for target in group["targets"]]

    def metrics(self) -> str:
        """Return all that Prometheus would scrape."""
        return "\n".join(httpx.get(page, timeout=30).text for page in self.metrics_pages())


def on_ports(folder: Path, grpc_port: int, http_port: int) -> Path:
    """Write the shipped Serve configuration with ports of the test's own."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["grpc_options"]["port"], config["http_options"]["port"] = grpc_port, http_port
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def apart(folder: Path, grpc_port: int) -> dict[str, str]:
    """Return the environment of a system that shares no folder and no port with another one."""
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_TMPDIR": str(folder / "ray"),
        "SIGHTLINE_SPOOL_DIR": str(folder / "spool"),
        "SIGHTLINE_STATE_DIR": str(folder),
        "INFERENCE_SERVICE_URL": f"127.0.0.1:{grpc_port}",
    }
