"""One running system that people look at: by the page, the commands, the metrics and Prometheus."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.ports import free_ports
from tests.support.http_server import HttpServer
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.system import BIN, running
from tests.support.watched_system import SOURCE, STEADY, Watched, on_ports


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
