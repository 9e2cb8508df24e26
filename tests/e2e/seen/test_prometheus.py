"""Every expression of the rules and of the dashboard, in a real Prometheus beside a running system."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import ROOT, wait_for
from tests.e2e.faults.ground import free_ports
from tests.e2e.seen.conftest import SOURCE, Watched
from tests.e2e.system import BIN, running

CONFIGS = ROOT / "configs"
RULES = yaml.safe_load((CONFIGS / "prometheus" / "rules.yml").read_text())
DASHBOARD = json.loads((CONFIGS / "grafana" / "dashboards" / "sightline.json").read_text())
EVERY_RULE = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in EVERY_RULE if "alert" in rule]
RECORDED = [rule for rule in EVERY_RULE if "record" in rule]
PANELS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
NEEDS_A_GPU = re.compile(r"ray_node_(gpus|gram)")


class Prometheus:
    """One Prometheus, as a test asks it."""

    def __init__(self, port: int, edge_port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self.edge_port = edge_port
        """Where a camera on the edge is looked for."""

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Give the vector of an expression."""
        answer = httpx.get(f"{self._address}/api/v1/query", params={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def numbers(self, expression: str) -> list[float]:
        """Give the values of an expression; nothing while one of them is none (0/0: no two readings differ yet)."""
        values = [float(sample["value"][1]) for sample in self.query(expression)]
        return values if not any(math.isnan(value) for value in values) else []

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self._address}/-/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def prometheus(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with the shipped configuration; only the place of Ray's list is the test's own."""
    binary = shutil.which("prometheus")
    assert binary, "apt-get install prometheus"
    watched.wait_for_state(SOURCE, "live")
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(CONFIGS / "prometheus" / "rules.yml", folder)
    config = yaml.safe_load((CONFIGS / "prometheus" / "prometheus.yml").read_text())
    (discovery,) = config["scrape_configs"][0]["file_sd_configs"]
    assert [Path(file).name for file in discovery["files"]] == ["prom_metrics_service_discovery.json"]
    discovery["files"] = [str(watched.ray / "prom_metrics_service_discovery.json")]
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
            wait_for(lambda: found.query("sightline:slo_breaches:burn"), 120, "recorded rates")
            yield found
        finally:
            process.terminate()
            process.wait(20)


def without_threshold(expression: str) -> str:
    """Give what an alert looks at."""
    bare, count = re.subn(r"\s*(?:>=|<=|==|>|<)\s*[\d.]+\s*$", "", expression)
    assert count == 1, f"an alert ends with its threshold: {expression}"
    return bare


@pytest.mark.parametrize("rule", RECORDED, ids=lambda rule: rule["record"])
def test_every_recording_rule_returns_data(prometheus: Prometheus, rule: dict[str, Any]):
    assert wait_for(lambda: prometheus.query(rule["expr"]), 60, rule["record"])
    assert wait_for(lambda: prometheus.query(rule["record"]), 60, rule["record"])


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_what_every_alert_looks_at_returns_data(prometheus: Prometheus, rule: dict[str, Any]):
    assert wait_for(lambda: prometheus.numbers(without_threshold(rule["expr"])), 90, rule["alert"])


@pytest.mark.parametrize(("title", "expression"), PANELS)
def test_every_query_of_every_panel_returns_data(prometheus: Prometheus, title: str, expression: str):
    if NEEDS_A_GPU.search(expression) and not Path("/dev/nvidia0").exists():
        pytest.skip("no GPU here")
    asked = expression.replace("$camera", ".*")
    assert wait_for(lambda: prometheus.numbers(asked), 90, title)


def test_the_numbers_are_those_of_the_running_system(prometheus: Prometheus, watched: Watched):
    assert prometheus.numbers("sightline:detector_replicas:running") == [1]
    wait_for(lambda: prometheus.numbers("sum(camera:sightline_camera_up:frames)") == [2], 90, "two cameras up")

    def as_asked() -> bool:
        rates = prometheus.numbers("camera:sightline_frames_sampled:rate")
        return len(rates) == len(watched.status()["cameras"]) and all(1.0 <= rate <= 3.0 for rate in rates)

    wait_for(as_asked, 90, "two frames a second of each camera")


def test_a_camera_on_the_edge_stands_in_the_same_series_as_one_in_the_cluster(
    prometheus: Prometheus, watched: Watched, tmp_path: Path
):
    """Beside the running system, and in a process of its own: its events are published, its ledger is recorded."""
    port = yaml.safe_load(watched.config.read_text())["grpc_options"]["port"]
    command = [str(BIN / "sightline"), "camera", "--id", "edge-1", "--service", f"127.0.0.1:{port}", "--fps", "2"]
    where = ["--url", "synthetic://street?seed=3&width=640&height=360", "--metrics-port", str(prometheus.edge_port)]
    with running([*command, *where, "--json"], tmp_path, SIGHTLINE_LATENCY_BUDGET_MS="1000") as edge:
        for asked in ("camera:sightline_camera_up:frames", "camera:sightline_events_published:rate"):
            one = f'{asked}{{camera_id="edge-1"}} > 0'
            wait_for(lambda one=one: prometheus.numbers(one), 90, one)
        assert prometheus.numbers('up{job="sightline-edge"}') == [1]
        assert edge.interrupt() == 0
    last = json.loads(edge.output.splitlines()[-1])
    assert last["accepted"] > 0
    assert last["in_flight"] == 0
    assert last["sampled"] == last["accepted"] + last["unconfirmed"] + sum(last["dropped"].values())


def test_every_alert_of_the_issue_is_there_and_fires_in_promtool_s_own_tests():
    asked = {"CameraSlow", "CameraDown", "SpoolGrowing", "NoReplica", "Dropping"}
    assert {rule["alert"] for rule in ALERTS} >= {f"Sightline{name}" for name in asked}
    tests = yaml.safe_load((CONFIGS / "prometheus" / "rules_test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in ALERTS}
    for call in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        done = subprocess.run(
            ["promtool", *call], cwd=CONFIGS / "prometheus", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", "prometheus.yml"],
        cwd=CONFIGS / "prometheus", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
