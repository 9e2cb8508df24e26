"""What is asked of every expression of the rules and of the dashboard, whatever Prometheus scrapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.metrics_recording import ALERTS, NEEDS_A_GPU, PANELS, RECORDED, without_threshold
from tests.support.prometheus import Prometheus
from tests.support.waiting import wait_for


class EveryExpression:
    """Each returns data; the module of a subclass has the fixture ``prometheus``."""

    @pytest.mark.parametrize("rule", RECORDED, ids=lambda rule: rule["record"])
    def test_every_recording_rule_returns_data(self, prometheus: Prometheus, rule: dict[str, Any]):
        assert wait_for(lambda: prometheus.query(rule["expr"]), 60, rule["record"])
        assert wait_for(lambda: prometheus.query(rule["record"]), 60, rule["record"])

    @pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
    def test_what_every_alert_looks_at_returns_data(self, prometheus: Prometheus, rule: dict[str, Any]):
        assert wait_for(lambda: prometheus.numbers(without_threshold(rule["expr"])), 90, rule["alert"])

    @pytest.mark.parametrize(("title", "expression"), PANELS)
    def test_every_query_of_every_panel_returns_data(self, prometheus: Prometheus, title: str, expression: str):
        if NEEDS_A_GPU.search(expression) and not Path("/dev/nvidia0").exists():
            pytest.skip("no GPU here")
        asked = expression.replace("$camera", ".*")
        assert wait_for(lambda: prometheus.numbers(asked), 90, title)
