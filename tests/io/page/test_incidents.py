"""Rules and incidents on the page: a real Chromium over the API of a stand-in system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cameras import Picture
from app.core.event import DetectedObject
from app.publisher import IncidentQuery, RuleCount
from app.web import Incidents
from tests.support.api_system import NOW, Found
from tests.support.browser import Page, browser
from tests.support.fleet import Shards, desired_rules
from tests.support.page_server import PICTURE, Seen, serving

STOP: dict[str, object] = {
    "id": "no-parking", "type": "stopped", "zone": {"name": "bus stop", "points": [[0.1, 0.6], [0.4, 0.6], [0.4, 0.9]]},
}  # fmt: skip
LINE: dict[str, object] = {"id": "gate-line", "type": "line_crossing", "line": [[0.5, 0.9], [0.5, 0.1]]}
ELSEWHERE: dict[str, object] = {**LINE, "id": "elsewhere", "cameras": ["yard-*"]}
CAR = 42


def body(anomaly_id: str, rule: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "anomaly_id": anomaly_id, "camera_id": "gate", "rule": rule, "type": kind, "severity": "warning",
        "state": "new", "started_at": NOW.isoformat().replace("+00:00", "Z"), "ended_at": None, "reason": None,
        "track_ids": [CAR], "classes": ["car"], "zone": None, "line": None, "direction": None, "value": 10.0, **fields,
    }  # fmt: skip


ACTIVE = body("a-1", "no-parking", "stopped", zone="bus stop")
CROSSED = body(
    "a-2", "gate-line", "line_crossing", severity="info", state="instant", ended_at="2026-01-10T11:59:00Z",
    line="gate-line", direction="left_to_right", value=None,
)  # fmt: skip
LOST = body("a-3", "no-parking", "stopped", state="end", ended_at="2026-01-10T12:00:25Z", reason="track_lost")


class ByState(Found):
    """Answers by whether incidents go on are asked for, as the publisher does."""

    async def incidents(self, query: IncidentQuery) -> Sequence[Mapping[str, Any]] | None:
        found = await super().incidents(query)
        return found and [one for one in found if query.active is None or query.active == (one["ended_at"] is None)]

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> Sequence[RuleCount] | None:
        await super().rule_counts(rule, from_ms, to_ms, step_ms)
        return [one for one in self.counted if (rule == "gate-line") == bool(one.direction)]


class Watched(Seen):
    """The stand-in, with rules, and a car that moves to the right."""

    def __init__(self) -> None:
        super().__init__()
        self.rules = desired_rules(Shards(), Path("/nowhere"), STOP, LINE, ELSEWHERE)
        self.found = ByState()
        self.found.bodies = [ACTIVE, CROSSED, LOST]
        self.found.counted = [
            RuleCount(0, "gate", "left_to_right", "car", 3),
            RuleCount(0, "gate", "right_to_left", "bus", 1),
            RuleCount(0, "gate", "", "car", 2),
        ]
        self.incidents = Incidents(self.found)

        self.latest = 1

    async def picture(self, camera_id: str) -> Picture | None:
        return Picture(camera_id, f"7-{self.latest}", NOW, True, PICTURE)

    def objects(self, number: int) -> tuple[DetectedObject, ...]:
        self.latest = number
        (car,) = super().objects(number)
        return (replace(car, bbox=(10.0 * number, 100.0, 80.0, 40.0), track_id=CAR),)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    with browser(tmp_path_factory.mktemp("chromium")) as tab, serving(Watched) as (address, host):
        tab.size(1280, 900)
        tab.open(address)
        tab.wait("document.querySelectorAll('#active li').length === 1")
        yield tab, host
        assert tab.faults == []


def text_of(page: Page, selector: str) -> list[str]:
    found = page.run(f"[...document.querySelectorAll({selector!r})].map(one => one.textContent)")
    assert isinstance(found, list)
    return found


def test_zones_and_lines_are_drawn_on_the_cameras_that_their_rules_name(page):
    tab, _ = page
    tab.wait("document.querySelectorAll('#camera-gate svg.shapes .shape').length === 2")
    assert text_of(tab, "#camera-gate svg.shapes text") == ["bus stop", "A", "B", "gate-line"]
    corners = tab.run("document.querySelector('svg.shapes polygon').getAttribute('points')")
    wide = 1000 * 640 / 360
    assert [float(part) for part in corners.replace(",", " ").split()] == pytest.approx(
        [0.1 * wide, 600, 0.4 * wide, 600, 0.4 * wide, 900]
    )


def test_an_incident_that_goes_on_is_on_top_with_its_time_and_marks_its_zone_and_its_box(page):
    tab, _ = page
    (line,) = text_of(tab, "#active li")
    assert line.startswith("▲ warning: no-parking, stopped (car) gate since 12:00:00, for ")
    assert tab.run("document.getElementById('incidents').hidden") is False
    assert tab.run("document.querySelector('#active a').getAttribute('href')") == "#camera-gate"
    tab.wait("document.querySelectorAll('#camera-gate polygon.shape.now.warning').length === 1")
    tab.wait("document.querySelectorAll('#camera-gate rect.box.warning').length === 1")


def test_past_incidents_and_counts_are_listed_by_rule(page):
    tab, _ = page
    tab.wait(
        "document.querySelectorAll('#past li').length === 2 && document.querySelectorAll('#counts tr').length === 3"
    )
    assert text_of(tab, "#past .what") == [
        "● gate-line, line crossing left to right (car)",
        "▲ no-parking, stopped (car) (track lost)",
    ]
    assert text_of(tab, "#past li:last-child span")[0] == "25 s"
    assert text_of(tab, "#counts tr td:last-child") == ["2", "4 (3 left to right, 1 right to left)", "2"]


def test_a_track_leaves_a_trail_behind_its_box(page):
    tab, _ = page
    tab.wait("document.querySelector('#camera-gate svg.boxes .trail')?.getAttribute('points').split(' ').length > 1")
    trail, box = tab.run(
        "(() => { const tile = document.querySelector('#camera-gate svg.boxes'), box = tile.querySelector('rect.box');"
        " const points = tile.querySelector('.trail').getAttribute('points').split(' ');"
        " return [points.map(one => one.split(',').map(Number)),"
        " ['x', 'y', 'width', 'height'].map(name => Number(box.getAttribute(name)))]; })()"
    )
    left, top, width, height = box
    assert [left + width / 2, top + height] in trail


def test_what_has_ended_leaves_the_top_and_a_changed_rule_its_shape(page):
    tab, host = page
    host().found.bodies = [LOST]
    tab.wait("document.getElementById('incidents').hidden")
    assert tab.run("document.querySelectorAll('#camera-gate .shape.now').length") == 0
    host().rules = desired_rules(Shards(), Path("/nowhere"), LINE)
    tab.wait("document.querySelectorAll('#camera-gate svg.shapes .shape').length === 1")
