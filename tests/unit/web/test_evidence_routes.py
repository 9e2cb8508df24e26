"""Pictures and clips of incidents in the HTTP API, over a stand-in of the publisher."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.publisher import EvidenceAnswer
from app.web import build_api
from app.web.problems import PROBLEM
from tests.support.changing_system import GATE, Changing

SIGNED = "http://minio:9100/evidence/gate/2026/01/10/a-1.jpg?X-Amz-Signature=1"


@pytest.fixture
async def system(tmp_path: Path) -> Changing:
    made = Changing(tmp_path, GATE)
    made.found.bodies = []
    made.found.pictures = {
        "here": EvidenceAnswer("image/jpeg", data=b"picture"),
        "stored": EvidenceAnswer("image/jpeg", url=SIGNED),
        "lost": EvidenceAnswer("video/mp4", reason="evidence.max_bytes was reached"),
    }
    return made


async def get(system: Changing, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(build_api(lambda: system), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as asking:
        return await asking.get(f"/api/v1/anomalies{path}")


async def test_evidence_that_is_here_is_answered_with_its_bytes(system: Changing):
    answer = await get(system, "/here/image")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/jpeg", b"picture")
    assert system.found.asked == [("here", "snapshot", True)]


async def test_evidence_in_the_store_is_answered_with_a_signed_address_that_nobody_keeps(system: Changing):
    answer = await get(system, "/stored/image")
    assert (answer.status_code, answer.headers["location"]) == (307, SIGNED)
    assert answer.headers["cache-control"] == "no-store"


async def test_who_cannot_reach_the_store_asks_for_no_signed_address(system: Changing):
    await get(system, "/here/clip?redirect=false")
    assert system.found.asked == [("here", "clip", False)]
    assert (await get(system, "/here/clip?redirect=perhaps")).status_code == 422


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/lost/clip", 404, "the clip is not there: evidence.max_bytes was reached"),
        ("/none/clip", 404, "the incident 'none' has no clip"),
    ],
)
async def test_what_is_not_there_is_a_problem_with_its_reason(system: Changing, path: str, status: int, said: str):
    answer = await get(system, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert answer.json()["detail"] == said


async def test_a_publisher_that_is_away_is_an_outage(system: Changing):
    system.found.bodies = None
    assert (await get(system, "/here/image")).status_code == 503
