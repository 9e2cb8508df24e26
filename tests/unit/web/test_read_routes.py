"""The read side of the HTTP API over a stand-in of the system."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from datetime import datetime

import httpx
import pytest

from app.cameras import CameraState, DroppedLately
from app.cameras.ledger import DropReason
from app.cameras.status import Blocked, ServiceTrouble
from app.web import (
    CameraFacts,
    build_api,
)
from app.web.camera_health import trouble_of
from app.web.event_hub import MAX_VIEWERS
from app.web.problems import PROBLEM
from tests.support.api_system import FINE, NOW, SLOW, System, behind, camera, status


def client(system: System) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build_api(lambda: system), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


async def get(system: System, path: str, **headers: str) -> httpx.Response:
    async with client(system) as asking:
        return await asking.get(path, headers=headers)


async def test_the_status_tells_cameras_replicas_ledger_stages_spool_and_broker():
    reported = (await get(System(), "/api/v1/status")).json()
    gate = reported["cameras"][0]
    assert (gate["state"], gate["reason"], gate["blocked"], gate["epoch"]) == ("live", "", "", 7)
    assert (gate["fps_sent"], gate["dropped_lately"]) == (5.1, {"by_reason": {}, "held_back": 0})
    assert datetime.fromisoformat(gate["since"]) == NOW
    ledger = gate["ledger"]
    settled = ledger["accepted"] + sum(ledger["dropped"].values()) + ledger["unconfirmed"] + ledger["in_flight"]
    assert ledger["sampled"] == settled == 10
    assert list(reported["latency"]["stages"]) == ["encode", "transport", "queue", "decode", "inference", "commit"]
    assert reported["latency"]["total"] == {"p50": 21.0, "p95": 21.0, "p99": 21.0}
    assert reported["capture_to_kafka_ms"] == {"p50": 20.0, "p95": 40.0, "p99": 60.0}
    assert reported["deployments"][0]["running"] == 1
    assert reported["queue"]["frames_waiting"] == 1
    assert reported["spool"] == {"events": 2, "bytes": 800, "oldest_s": 3.0}
    assert (reported["publisher"]["accepted"], reported["publisher"]["published"]) == (9, 7)
    assert reported["publisher"]["quarantine_trouble"] == ""
    assert reported["broker"]["embedded"] is True


async def test_the_latencies_to_kafka_of_the_last_seconds_can_be_asked_for():
    reported = (await get(System(), "/api/v1/status?seconds=12.5")).json()
    assert reported["capture_to_kafka_ms"]["p50"] == 12.5


async def test_cameras_are_listed_and_reported_one_by_one():
    every, one = await get(System(), "/api/v1/cameras"), await get(System(), "/api/v1/cameras/gate")
    assert every.json() == [one.json()]
    assert "***" in one.json()["url"]


async def test_events_have_the_names_of_the_topic():
    (event,) = (await get(System(), "/api/v1/events?camera=gate")).json()
    assert event["detections"] == [
        {"class": "car", "class_id": 2, "confidence": 0.9123, "bbox": [1.01, 2.0, 3.0, 4.0], "track_id": None}
    ]
    assert (event["frame_id"], event["frame"]) == ("7-1", {"width": 640, "height": 360})
    latency = event["latency_ms"]
    assert sum(latency.values()) == 2 * latency["total"]


async def test_a_picture_names_its_frame_and_is_not_sent_again_while_it_is_the_same():
    system = System()
    answer = await get(system, "/api/v1/cameras/gate/frame.jpg")
    assert (answer.content, answer.headers["content-type"]) == (b"jpeg", "image/jpeg")
    assert answer.headers["x-frame-id"] == "7-1"
    for named in (answer.headers["etag"], f"W/{answer.headers['etag']}", f'"other", {answer.headers["etag"]}', "*"):
        again = await get(system, "/api/v1/cameras/gate/frame.jpg", **{"if-none-match": named})
        assert (again.status_code, again.content) == (304, b"")
    other = await get(system, "/api/v1/cameras/gate/frame.jpg", **{"if-none-match": '"7-0"'})
    assert other.status_code == 200


async def test_ten_viewers_of_a_picture_cost_the_camera_one_call():
    system = System()
    async with client(system) as asking:
        answers = await asyncio.gather(*(asking.get("/api/v1/cameras/gate/frame.jpg") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert system.pictures == 1


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/cameras/nobody", 404),
        ("GET", "/api/v1/cameras/nobody/frame.jpg", 404),
        ("GET", "/api/v1/events?camera=nobody", 404),
        ("GET", "/api/v1/events/stream?camera=nobody", 404),
        ("GET", "/api/v1/events?limit=0", 422),
        ("GET", "/api/v1/events?limit=many", 422),
        ("GET", "/api/v1/status?seconds=0", 422),
        ("GET", "/api/v1/status?seconds=nan", 422),
        ("DELETE", "/api/v1/status", 405),
        ("POST", "/api/v1/events", 405),
    ],
)
async def test_every_error_is_a_problem_document(method: str, path: str, code: int):
    async with client(System()) as asking:
        answer = await asking.request(method, path)
    assert answer.status_code == answer.json()["status"] == code
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["detail"]


async def test_one_viewer_too_many_is_refused_in_a_problem_document():
    system = System()
    async with contextlib.AsyncExitStack() as watching:
        for _ in range(MAX_VIEWERS):
            await watching.enter_async_context(system.readings.hub.watch())
        answer = await get(system, "/api/v1/events/stream")
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["detail"] == f"too many viewers: {MAX_VIEWERS} event streams are open already"


async def test_a_camera_without_a_frame_has_no_picture_to_show():
    answer = await get(System(picture=False), "/api/v1/cameras/gate/frame.jpg")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)


async def test_a_camera_whose_process_died_is_reported_of_all_the_same():
    gate = (await get(System(camera(None, (), restarts=1)), "/api/v1/cameras/gate")).json()
    assert (gate["state"], gate["reason"], gate["ledger"]) == ("reconnecting", "its process died", None)
    assert gate["trouble"] == "its process died"


async def test_the_openapi_document_names_every_path_of_the_contract():
    document = (await get(System(), "/api/v1/openapi.json")).json()
    assert {
        "/healthz",
        "/readyz",
        "/api/v1/cameras",
        "/api/v1/cameras/{camera_id}",
        "/api/v1/cameras/{camera_id}/frame.jpg",
        "/api/v1/events",
        "/api/v1/events/stream",
        "/api/v1/status",
    } <= set(document["paths"])


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/incidents.js", "text/javascript"),
        ("/elements.js", "text/javascript"),
    ],
)
async def test_the_page_is_ours_alone(path: str, kind: str):
    answer = await get(System(), path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "https://" not in answer.text
    assert answer.text.replace("http://www.w3.org/2000/svg", "").count("http://") == 0


async def test_the_stream_tells_status_and_frames_and_leaves_nothing_when_its_viewer_goes():
    system = System()
    sent: list[str] = []
    both, gone = asyncio.Event(), asyncio.Event()

    async def send(message: dict) -> None:
        sent.append(message.get("body", b"").decode())
        if any("event: detection" in part for part in sent) and any("event: status" in part for part in sent):
            both.set()

    async def receive() -> dict:
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http", "method": "GET", "path": "/api/v1/events/stream", "query_string": b"camera=gate",
        "headers": [], "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 8000), "root_path": "",
    }  # fmt: skip
    answering = asyncio.ensure_future(build_api(lambda: system)(scope, receive, send))
    await asyncio.wait_for(both.wait(), 10)
    assert system.readings.hub.viewers == 1
    gone.set()
    await asyncio.wait_for(answering, 10)
    assert system.readings.hub.viewers == 0
    reported = next(part for part in sent if "event: detection" in part)
    assert json.loads(reported.split("data: ")[1])["camera_id"] == "gate"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (camera(status()), []),
        (camera(status(CameraState.ENDED, "over")), []),
        (camera(status(CameraState.OFFLINE, "connection refused")), ["offline", "connection refused"]),
        (
            camera(status(), (FINE,) * 18 + (SLOW,) * 2),
            ["slow", "p95 269 ms of 200 ms", "transport", "transport to the service"],
        ),
        # Most of its life's drops are of another reason than those of late: the ledger says deadline.
        (
            behind({DropReason.OUT_OF_ORDER: 1, DropReason.UNAVAILABLE: 9}),
            ["1.0 of 5.0", "unavailable", "the service was unavailable"],
        ),
        (behind({DropReason.SUPERSEDED: 9}), ["1.0 of 5.0", "superseded", "a newer frame"]),
        (behind({DropReason.SUPERSEDED: 9, DropReason.DEADLINE: 2}, held_back=7), ["service is busy", "1.1 of 5.0"]),
        (
            behind({DropReason.SUPERSEDED: 9, DropReason.DEADLINE: 8}, held_back=7),
            ["deadline", "latency budget ran out"],
        ),
        (behind({}), []),
        (camera(status(lately=DroppedLately({DropReason.SUPERSEDED: 3}, 3))), []),  # it keeps up all the same
        (camera(replace(status(), blocked=Blocked(ServiceTrouble.AWAY, "", NOW))), ["blocked", "away"]),
        (camera(None), ["its process died"]),
    ],
)
def test_a_camera_s_trouble_is_one_sentence_that_says_why(facts: CameraFacts, words: list[str]):
    reported = trouble_of(facts, 200)
    assert bool(reported) == bool(words)
    assert all(word in reported for word in words)
    assert "\n" not in reported
