"""A real Prometheus, with the shipped configuration, beside a running system."""

from __future__ import annotations

import contextlib
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from app.core.ports import free_ports
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

CONFIGS = ROOT / "configs" / "prometheus"


class Prometheus:
    """One Prometheus, as a test asks it."""

    def __init__(self, port: int, edge_port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self.edge_port = edge_port
        """Where a camera on the edge is looked for."""

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the vector of an expression."""
        answer = httpx.get(f"{self._address}/api/v1/query", params={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def numbers(self, expression: str) -> list[float]:
        """Return the values of an expression; nothing while one of them is none (0/0: no two readings differ yet)."""
        values = [float(sample["value"][1]) for sample in self.query(expression)]
        return values if not any(math.isnan(value) for value in values) else []

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self._address}/-/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@contextlib.contextmanager
def running_prometheus(folder: Path, targets: Path, every: str | None = None) -> Iterator[Prometheus]:
    """Run Prometheus with the shipped configuration; only the place of Ray's list of targets is the test's own.

    Args:
        folder: for its files.
        targets: Ray's list.
        every: how often it scrapes and evaluates, where not as shipped.
    """
    binary = shutil.which("prometheus")
    assert binary, "apt-get install prometheus"
    rules = yaml.safe_load((CONFIGS / "rules.yml").read_text())
    config = yaml.safe_load((CONFIGS / "prometheus.yml").read_text())
    if every:
        config["global"].update(scrape_interval=every, evaluation_interval=every)
        for group in rules["groups"]:
            group["interval"] = every
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (discovery,) = config["scrape_configs"][0]["file_sd_configs"]
    assert [Path(file).name for file in discovery["files"]] == [targets.name]
    discovery["files"] = [str(targets)]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port, edge_port = free_ports(2)
    assert config["scrape_configs"][1]["file_sd_configs"] == [{"files": ["edge.yml"]}]
    (folder / "edge.yml").write_text(yaml.safe_dump([{"targets": [f"127.0.0.1:{edge_port}"]}]))
    command = [binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            found = Prometheus(port, edge_port)
            wait_for(found.ready, 30, "Prometheus")
            yield found
        finally:
            process.terminate()
            process.wait(20)
