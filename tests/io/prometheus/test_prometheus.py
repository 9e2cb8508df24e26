"""Every expression of the rules and of the dashboard, in a real Prometheus that scrapes a recording of a system.

``tests/e2e/seen/test_prometheus.py`` asks the same of a running system.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.support.every_expression import EveryExpression
from tests.support.metrics_recording import (
    ALERTS,
    RECORDING,
    RecordedPage,
    names_asked_for,
    serving,
    targets_file,
)
from tests.support.prometheus import CONFIGS, Prometheus, running_prometheus


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


class TestEveryExpressionOnARecording(EveryExpression):
    """As the module says."""


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
