"""Every expression of the rules and of the dashboard, in a real Prometheus beside a running system.

By default they are asked of a recording (``tests/io/prometheus``).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support.every_expression import EveryExpression
from tests.support.prometheus import Prometheus
from tests.support.system import BIN, running
from tests.support.waiting import wait_for
from tests.support.watched_system import SOURCE, Watched

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prometheus(scraping: Prometheus, watched: Watched) -> Prometheus:
    """Prometheus, once it has scraped the running system for a while."""
    watched.wait_for_state(SOURCE, "live")
    wait_for(lambda: scraping.query("sightline:slo_breaches:burn"), 120, "recorded rates")
    return scraping


class TestEveryExpressionOnARunningSystem(EveryExpression):
    """As the module says."""


def test_the_numbers_are_those_of_the_running_system(prometheus: Prometheus, watched: Watched):
    wait_for(lambda: prometheus.numbers("sightline:detector_replicas:running") == [1], 90, "one detector")
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
