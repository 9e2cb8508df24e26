"""Rules in the HTTP API: read, added, changed and removed, as cameras are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.web.problems import PROBLEM
from tests.support.changing_system import GATE, STOP, Changing, ask_system

YARD = {"id": "yard", "type": "intrusion", "zone": [[0, 0], [1, 0], [1, 1]], "cameras": ["yard-*"]}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[Changing]:
    made = Changing(tmp_path, GATE)
    await made.rules.open(0)
    yield made
    made.rules.close()
    await made.changes.close()


async def ask(system: Changing, method: str, path: str, **how: Any) -> httpx.Response:
    return await ask_system(system, method, f"/api/v1/rules{path}", **how)


async def test_a_rule_is_added_and_reported_with_the_cameras_that_it_names(system: Changing):
    added = await ask(system, "POST", "", json=YARD)
    assert added.status_code == 201
    assert added.headers["location"] == "/api/v1/rules/yard"
    assert added.json() == {
        "id": "yard", "type": "intrusion", "severity": "warning", "origin": "added", "applies_to": [],
        "settings": {**YARD, "zone": {"points": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]}},
    }  # fmt: skip
    assert (await ask(system, "GET", "/yard")).json() == added.json()
    every = (await ask(system, "GET", "")).json()
    assert [(rule["id"], rule["applies_to"]) for rule in every] == [("stop", ["gate"]), ("yard", [])]


async def test_what_get_returns_put_accepts_with_or_without_the_id(system: Changing):
    settings = (await ask(system, "GET", "/stop")).json()["settings"]
    assert settings == STOP
    changed = await ask(system, "PUT", "/stop", json={**settings, "dwell": 20})
    assert (changed.status_code, changed.json()["origin"]) == (200, "changed")
    assert changed.json()["settings"]["dwell"] == 20
    back = await ask(system, "PUT", "/stop", json={"type": "stopped", "cameras": ["gate*"]})
    assert back.json()["origin"] == "configured"


async def test_a_removed_rule_is_gone_and_stays_removed_after_a_restart(system: Changing, tmp_path: Path):
    removed = await ask(system, "DELETE", "/stop")
    assert (removed.status_code, removed.json()) == (200, {"id": "stop"})
    assert (await ask(system, "GET", "")).json() == []
    system.rules.close()
    again = Changing(tmp_path, GATE)
    await again.rules.open(0)
    assert again.rules.desired == ()
    again.rules.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reported"),
    [
        ("POST", "", STOP, 409, "there is a rule 'stop' already"),
        ("POST", "", {"id": "yard"}, 422, "rule 'yard': type: missing; allowed are intrusion"),
        ("POST", "", {**YARD, "zone": [[0, 0], [1, 1]]}, 422, "rule 'yard': zone: 2 points"),
        ("POST", "", {**YARD, "dwel": 5}, 422, "rule 'yard': dwel: not a field of intrusion"),
        ("POST", "", {**YARD, "id": "a b"}, 422, "id"),
        ("POST", "", {**YARD, "schedule": {"tz": "Mars/Base"}}, 422, "schedule"),
        ("POST", "", [], 422, "body"),
        ("PUT", "/stop", {**STOP, "id": "halt"}, 422, "rule 'halt': id: the path names 'stop'"),
        ("PUT", "/stop", {**STOP, "dwell": 0}, 422, "rule 'stop': dwell: 0"),
        ("PUT", "/yard", YARD, 404, "there is no rule 'yard'"),
        ("DELETE", "/yard", None, 404, "there is no rule 'yard'"),
        ("GET", "/yard", None, 404, "there is no rule 'yard'"),
        ("PATCH", "/stop", {}, 405, "Not Allowed"),
    ],
)
async def test_a_mistake_names_rule_and_field_and_changes_nothing(
    system: Changing, method: str, path: str, body: object, code: int, reported: str
):
    answer = await ask(system, method, path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (code, PROBLEM)
    assert reported in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert [rule.origin for rule in system.rules.desired] == ["configured"]


async def test_rules_are_changed_from_this_machine_or_with_the_token_only(system: Changing):
    assert (await ask(system, "POST", "", client="192.0.2.1", json=YARD)).status_code == 403
    system.token = "right"
    assert (await ask(system, "DELETE", "/stop")).status_code == 401
    assert (await ask(system, "GET", "")).status_code == 401
    allowed = await ask(system, "DELETE", "/stop", client="192.0.2.1", headers={"authorization": "Bearer right"})
    assert allowed.status_code == 200
