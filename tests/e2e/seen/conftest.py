"""One running system that people look at: by the page, the commands, the metrics and Prometheus."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.core.ports import free_ports
from tests.conftest import ROOT, wait_for
from tests.e2e.seen.scraping import Prometheus, running_prometheus
from tests.e2e.system import BIN, System, running
from tests.streams.http import HttpServer

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
        """Give the addresses that Prometheus scrapes."""
        groups = json.loads(self.targets.read_text())
        return [f"http://{target}/metrics" for group in groups for target in group["targets"]]

    def metrics(self) -> str:
        """Give all that Prometheus would scrape."""
        return "\n".join(httpx.get(page, timeout=30).text for page in self.metrics_pages())


def on_ports(folder: Path, grpc_port: int, http_port: int) -> Path:
    """Write the shipped Serve configuration with ports of the test's own."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["grpc_options"]["port"], config["http_options"]["port"] = grpc_port, http_port
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="package")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The system as shipped, on ports of its own, with a budget that a busy machine can keep."""
    folder = tmp_path_factory.mktemp("seen")
    ray = Path(tempfile.mkdtemp(prefix="slr", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    grpc_port, http_port = free_ports(2)
    config = on_ports(folder, grpc_port, http_port)
    with HttpServer(fps=10) as source:
        shell = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            "RAY_TMPDIR": str(ray),
            "SIGHTLINE_SPOOL_DIR": str(folder / "spool"),
            "SIGHTLINE_STATE_DIR": str(folder),
            "SIGHTLINE_CAMERAS": (
                f"{STEADY}=synthetic://street?seed=7&width=640&height=360&objects=6,{SOURCE}={source.url('live')}"
            ),
            "INFERENCE_FPS": "2",
            "INFERENCE_SERVICE_URL": f"127.0.0.1:{grpc_port}",
            "SIGHTLINE_LATENCY_BUDGET_MS": "1000",
        }
        try:
            with running([str(BIN / "serve"), "run", str(config)], folder, **shell) as system:
                seen = Watched(system, config, f"http://127.0.0.1:{http_port}", ray / "ray", source)
                system.wait_for_line("events/s", 240)
                yield seen
        finally:
            shutil.rmtree(ray, ignore_errors=True)


@pytest.fixture(scope="package", autouse=True)
def scraping(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, from the first test on: it needs a minute of readings, in which the other tests look elsewhere."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), watched.targets) as found:
        yield found
