"""The write side of the HTTP API over a fleet whose cameras are stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.web.body_limit import MAX_BODY
from app.web.problems import PROBLEM
from tests.support.changing_system import GATE, Changing, ask_system

YARD = {"id": "yard", "url": "rtsp://viewer:pa55@yard.example/1"}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[Changing]:
    made = Changing(tmp_path, GATE)
    await made.changes.open(0)
    yield made
    await made.changes.close()


async def ask(system: Changing, method: str, path: str, **how: Any) -> httpx.Response:
    return await ask_system(system, method, f"/api/v1/cameras{path}", **how)


async def test_a_camera_is_added_reported_at_once_and_its_password_by_nobody(system: Changing):
    added = await ask(system, "POST", "", json={**YARD, "fps": 2, "resources": {"edge": 0.5}})
    assert added.status_code == 201
    assert added.headers["location"] == "/api/v1/cameras/yard"
    reported = await ask(system, "GET", "/yard")
    assert reported.json() == added.json()
    assert reported.json()["origin"] == "added"
    assert reported.json()["settings"] == {
        "url": "rtsp://viewer:***@yard.example/1", "fps": 2.0, "max_side": None, "jpeg_quality": 85,
        "stall_s": None, "decode": "cpu", "masks": [], "model": "default",
        "confidence": None, "classes": [], "tracking": True, "resources": {"edge": 0.5},
    }  # fmt: skip
    assert [one["id"] for one in (await ask(system, "GET", "")).json()] == ["gate", "yard"]
    assert "pa55" not in added.text + reported.text


async def test_what_get_tells_put_takes_and_the_password_stays(system: Changing):
    settings = (await ask(system, "GET", "/gate")).json()["settings"]
    changed = await ask(system, "PUT", "/gate", json={**settings, "fps": 2})
    assert changed.status_code == 200
    assert (changed.json()["settings"]["fps"], changed.json()["origin"]) == (2.0, "changed")
    assert system.changes.desired[0].settings.url.reveal() == GATE.url.reveal()
    elsewhere = await ask(system, "PUT", "/gate", json={"url": settings["url"].replace("gate.", "evil.")})
    assert elsewhere.status_code == 422
    assert "in the place of a secret" in elsewhere.json()["detail"]


async def test_a_removed_camera_is_gone_at_once_and_its_last_word_is_reported(system: Changing):
    await ask(system, "GET", "")
    removed = await ask(system, "DELETE", "/gate")
    assert (removed.status_code, removed.json()) == (200, {"id": "gate", "ledger": None})
    assert system.runner.take()[-2:] == ["stop gate", "settled gate"]
    assert (await ask(system, "GET", "/gate")).status_code == 404
    assert (await ask(system, "GET", "")).json() == []


async def test_variables_are_never_expanded(system: Changing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "hunter2")
    added = await ask(system, "POST", "", json={"id": "yard", "url": "rtsp://yard.example/${SECRET}"})
    assert added.json()["url"] == "rtsp://yard.example/${SECRET}"
    assert system.changes.desired[1].settings.url.reveal() == "rtsp://yard.example/${SECRET}"


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reported"),
    [
        ("POST", "", {**YARD, "id": "gate"}, 409, "there is a camera 'gate' already"),
        ("POST", "", {"id": "yard"}, 422, "url"),
        ("POST", "", {**YARD, "id": "a b"}, 422, "id"),
        ("POST", "", {**YARD, "id": ""}, 422, "id"),
        ("POST", "", {**YARD, "url": "ftp://viewer:pa55@h/1"}, 422, "allowed are rtsp"),
        ("POST", "", {**YARD, "url": "rtsp://viewer:pa55/x@h/1"}, 422, "%2F"),
        ("POST", "", {**YARD, "url": "rtsp://viewer:***@h/1"}, 422, "in the place of a secret"),
        ("POST", "", {**YARD, "fps": 0}, 422, "fps"),
        ("POST", "", {**YARD, "fps": "5"}, 422, "fps"),
        ("POST", "", {**YARD, "fsp": 5}, 422, "fsp"),
        ("POST", "", {**YARD, "resources": {"CPU": 1}}, 422, "a camera reserves no CPU"),
        ("POST", "", [], 422, "body"),
        ("PUT", "/gate", {**YARD, "id": "gate"}, 422, "id"),
        ("PUT", "/yard", {"url": YARD["url"]}, 404, "there is no camera 'yard'"),
        ("DELETE", "/yard", None, 404, "there is no camera 'yard'"),
        ("PATCH", "/gate", {}, 405, "Not Allowed"),
    ],
)
async def test_a_mistake_is_a_problem_and_changes_nothing(
    system: Changing, method: str, path: str, body: object, code: int, reported: str
):
    answer = await ask(system, method, path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (code, PROBLEM)
    assert reported in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert "pa55" not in answer.text
    assert [one.settings for one in system.changes.desired] == [GATE]


async def test_a_body_that_is_no_json_is_a_problem(system: Changing):
    answer = await ask(system, "POST", "", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)


@pytest.mark.parametrize("reported", [True, False])
async def test_a_body_larger_than_any_camera_is_not_read_to_its_end(system: Changing, reported: bool):
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 16384
            yield b" " * 16384

    headers = {"content-type": "application/json", **({"content-length": "16384000"} if reported else {})}
    answer = await ask(system, "POST", "", content=endless(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (413, PROBLEM)
    assert taken <= MAX_BODY + 2 * 16384


async def test_what_cannot_be_kept_is_not_done(tmp_path: Path):
    (tmp_path / "cameras.json").write_text("damaged")
    system = Changing(tmp_path, GATE)
    await system.changes.open(0)
    answer = await ask(system, "POST", "", json=YARD)
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert "cannot be read" in answer.json()["detail"]
    assert system.camera_ids == ["gate"]
    await system.changes.close()


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PUT", "/gate"), ("DELETE", "/gate")])
async def test_without_a_token_only_this_machine_changes_cameras(system: Changing, method: str, path: str):
    assert (await ask(system, method, path, client="10.0.0.9", json=YARD)).status_code == 403
    system.token = "right"
    assert (await ask(system, method, path, json=YARD)).status_code == 401
    assert [one.settings for one in system.changes.desired] == [GATE]


async def test_an_answer_asked_for_before_a_change_is_not_given_after_it(system: Changing):
    before = await system.readings.status()
    await system.changes.remove("gate")
    system.readings.forget()
    assert (before.cameras[0].id, (await system.readings.status()).cameras) == ("gate", ())
