"""The system as shipped: a newcomer sees an incident within two minutes of the start."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.ports import free_ports
from app.errors import SystemRefused
from app.web.anomaly_fields import AnomalyModel
from app.web.client import ApiClient
from tests.support.browser import browser
from tests.support.command import SIGHTLINE
from tests.support.page_server import LINKED
from tests.support.system import BIN, System, running
from tests.support.waiting import wait_for
from tests.support.watched_system import apart, on_ports

pytestmark = pytest.mark.slow
TWO_MINUTES = 120.0
RULES = {"roadway", "near-pavement", "busy-roadway"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="sld", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def started(folder: Path) -> Iterator[tuple[System, ApiClient, Path]]:
    """The system as it is shipped, on free ports."""
    grpc_port, http_port = free_ports(2)
    config = on_ports(folder, grpc_port, http_port)
    with running([str(BIN / "serve"), "run", str(config)], folder, **apart(folder, grpc_port)) as system:
        system.wait_for_line("events/s", 240)
        yield system, ApiClient(f"http://127.0.0.1:{http_port}"), config


def incidents(api: ApiClient, **query: str) -> tuple[AnomalyModel, ...]:
    """Return the incidents; none where a busy publisher does not answer in time."""
    try:
        return api.anomalies(**query)
    except SystemRefused:
        return ()


def test_each_demonstration_street_has_incidents_within_two_minutes(started: tuple[System, ApiClient, Path]):
    _, api, _ = started
    found: set[tuple[str, str]] = set()

    def complete() -> bool:
        found.update((one.camera_id, one.rule) for one in incidents(api, limit="500"))
        return {camera for camera, _ in found} == {"street-east", "street-west"} and {
            rule for _, rule in found
        } == RULES

    try:
        wait_for(complete, TWO_MINUTES)
    except TimeoutError:
        raise AssertionError(f"found only {sorted(found)}; status: {api.status().rules_trouble}") from None


def test_the_page_shows_rules_and_incidents_of_the_running_system(
    started: tuple[System, ApiClient, Path], folder: Path
):
    _, api, _ = started
    with browser(folder) as page:
        page.size(1280, 900)
        page.open(api.address + "/")
        page.wait(LINKED)
        page.wait("document.querySelectorAll('svg.shapes .shape').length === 6")
        page.wait(
            "document.querySelectorAll('#past li').length > 0 && document.querySelectorAll('#counts tr').length === 3"
        )
        page.wait("document.querySelector('#counts tr[data-rule=roadway] td:last-child').textContent[0] > '0'")
        page.wait("document.querySelectorAll('#active li').length > 0", 120)
        assert page.faults == []


def test_a_rule_added_by_a_command_holds_at_once_and_its_incidents_are_listed(
    started: tuple[System, ApiClient, Path], folder: Path
):
    _, api, config = started
    rules = folder / "rules.yaml"
    everywhere = "zone: [[0, 0], [1, 0], [1, 1], [0, 1]]"
    rules.write_text(f"rules: [{{id: anyone, type: crowd, count: 1, hysteresis: 0, start_after: 0, {everywhere}}}]")

    def sightline(*arguments: str) -> str:
        done = subprocess.run(
            [str(SIGHTLINE), *arguments, "--config", str(config)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    assert sightline("rules", "add", str(rules)).startswith("anyone (crowd) is added, for street-east, street-west")
    assert api.status().rules_trouble == ""
    wait_for(lambda: "anyone" in {one.rule for one in incidents(api, active="true")}, 60, "an incident of the rule")
    assert "anyone" in sightline("anomalies", "--active")
    sightline("rules", "remove", "anyone")

    def ended_ones() -> bool:
        past = incidents(api, active="false", limit="500")
        return any(one.rule == "anyone" and one.state == "end" for one in past)

    wait_for(ended_ones, 60, "the end of its incidents")
    ended = [json.loads(line) for line in sightline("anomalies", "--json", "--limit", "500").splitlines()]
    assert {one["reason"] for one in ended if one["rule"] == "anyone" and one["state"] == "end"} == {"rule_changed"}
