"""Incidents and counts in the HTTP API, over a stand-in of the publisher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.publisher import IncidentQuery, RuleCount
from app.web import Incidents, build_api
from app.web.problems import PROBLEM
from tests.support.changing_system import GATE, Changing

NOON_MS = 1_768_046_400_000
"""2026-01-10, 12:00 UTC."""
ANOMALY: dict[str, Any] = {
    "schema_version": 1, "anomaly_id": "a-1", "camera_id": "gate", "rule": "stop", "type": "stopped",
    "severity": "warning", "state": "new", "started_at": "2026-01-10T12:00:00.000Z", "ended_at": None, "reason": None,
    "track_ids": [42], "classes": ["car"], "zone": "bus stop", "line": None, "direction": None, "value": 10.2,
    "image_url": "s3://evidence/gate/2026/01/10/a-1.jpg", "clip_url": None, "event_id": "e-1",
    "image": {"state": "stored", "reason": ""}, "clip": None,
}  # fmt: skip


@pytest.fixture
async def system(tmp_path: Path) -> Changing:
    made = Changing(tmp_path, GATE)
    made.found.bodies = [ANOMALY]
    return made


async def get(system: Changing, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(build_api(lambda: system), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as asking:
        return await asking.get(f"/api/v1{path}")


async def test_incidents_are_returned_with_every_field_that_was_published(system: Changing):
    (reported,) = (await get(system, "/anomalies")).json()
    assert {**reported, "started_at": ANOMALY["started_at"]} == ANOMALY
    assert reported["started_at"] == "2026-01-10T12:00:00Z"
    assert system.found.asked == [IncidentQuery(limit=50)]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("active=true&camera=gate", IncidentQuery(active=True, camera_id="gate", limit=50)),
        ("active=false&limit=3", IncidentQuery(active=False, limit=3)),
        ("since=2026-01-10T12:00:00Z", IncidentQuery(since_ms=NOON_MS, limit=50)),
        ("since=2026-01-10T12:00:00", IncidentQuery(since_ms=NOON_MS, limit=50)),
        ("since=2026-01-10T13:00:00%2B01:00", IncidentQuery(since_ms=NOON_MS, limit=50)),
        ("since=0001-01-01T00:00:00Z", IncidentQuery(since_ms=0, limit=50)),
    ],
)
async def test_incidents_are_asked_for_by_state_camera_and_time(system: Changing, query: str, asked: IncidentQuery):
    assert (await get(system, f"/anomalies?{query}")).status_code == 200
    assert system.found.asked == [asked]


async def test_the_same_question_of_several_viewers_is_asked_once_a_second(system: Changing):
    now = 0.0
    system.incidents = Incidents(system.found, lambda: now)
    for _ in range(3):
        await get(system, "/anomalies?active=true")
    assert len(system.found.asked) == 1
    now = 1.0
    await get(system, "/anomalies?active=true")
    assert len(system.found.asked) == 2


async def test_one_incident_is_found_by_its_id(system: Changing):
    assert (await get(system, "/anomalies/a-1")).json()["rule"] == "stop"
    assert system.found.asked == [IncidentQuery(anomaly_id="a-1", limit=1)]
    system.found.bodies = []
    missing = await get(system, "/anomalies/a-2")
    assert (missing.status_code, missing.json()["detail"]) == (404, "there is no incident 'a-2'")


async def test_counts_are_returned_by_steps_of_time(system: Changing):
    system.found.counted = [RuleCount(NOON_MS, "gate", "left_to_right", "car", 3)]
    reported = await get(system, "/rules/stop/counts?from=2026-01-10T12:00:00Z&to=2026-01-10T13:00:00Z&step=600")
    assert reported.json() == {
        "rule": "stop", "from": "2026-01-10T12:00:00Z", "to": "2026-01-10T13:00:00Z", "step": 600,
        "counts": [
            {"from": "2026-01-10T12:00:00Z", "camera_id": "gate", "direction": "left_to_right", "label": "car",
             "count": 3}
        ],
    }  # fmt: skip
    assert system.found.asked == [("stop", NOON_MS, NOON_MS + 3_600_000, 600_000)]


@pytest.mark.parametrize(
    ("path", "code", "reported"),
    [
        ("/anomalies?camera=yard", 404, "there is no camera 'yard'"),
        ("/anomalies?active=perhaps", 422, "active"),
        ("/anomalies?since=soon", 422, "since"),
        ("/anomalies?limit=0", 422, "limit"),
        ("/rules/yard/counts", 404, "there is no rule 'yard'"),
        ("/rules/stop/counts?step=90", 422, "step"),
        ("/rules/stop/counts?from=2026-01-10T13:00:00Z&to=2026-01-10T12:00:00Z", 422, "from: it must be before to"),
        ("/rules/stop/counts?from=2020-01-10T13:00:00Z&to=2026-01-10T12:00:00Z", 422, "step: so short a one"),
    ],
)
async def test_a_mistake_is_a_problem(system: Changing, path: str, code: int, reported: str):
    answer = await get(system, path)
    assert (answer.status_code, answer.headers["content-type"]) == (code, PROBLEM)
    assert reported in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/anomalies", "/anomalies/a-1", "/rules/stop/counts"])
async def test_while_the_publisher_is_away_that_is_said(system: Changing, path: str):
    system.found.bodies = None
    answer = await get(system, path)
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert "does not answer" in answer.json()["detail"]
