"""Every expression of the rules and of the dashboard, in a real Prometheus that scrapes a recording of a system.

``tests/e2e/seen/test_prometheus.py`` asks the same of a running system.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.metrics_recording import (
    ALERTS,
    NEEDS_A_GPU,
    PANELS,
    RECORDED,
    RECORDING,
    RecordedPage,
    names_asked_for,
    serving,
    targets_file,
    without_threshold,
)
from tests.support.prometheus import CONFIGS, Prometheus, running_prometheus
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, which reads the recording every second, and an empty page for a camera on the edge."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        serving(RecordedPage(RECORDING.read_text())) as page,
        running_prometheus(folder, targets_file(folder, page), every="1s") as found,
        serving(RecordedPage(""), found.edge_port),
    ):
        yield found


def test_the_recording_has_every_metric_that_a_rule_or_a_panel_asks_for():
    recorded = {line.split("{")[0] for line in RECORDING.read_text().splitlines()}
    assert recorded == names_asked_for()


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


def test_every_alert_of_the_issue_is_there_and_fires_in_promtool_s_own_tests():
    asked = {"CameraSlow", "CameraDown", "SpoolGrowing", "NoReplica", "Dropping"}
    assert {rule["alert"] for rule in ALERTS} >= {f"Sightline{name}" for name in asked}
    tests = yaml.safe_load((CONFIGS / "rules_test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in ALERTS}
    for call in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        done = subprocess.run(["promtool", *call], cwd=CONFIGS, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", "prometheus.yml"],
        cwd=CONFIGS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
