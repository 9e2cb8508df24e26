"""The HTTP API: who is let in, and how errors look."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest

from app.web import Health, build_api
from app.web.page import PAGE_FILES
from app.web.problems import PROBLEM


@dataclass
class Host:
    token: str | None = None
    ready: bool = True
    broken: bool = False

    async def health(self) -> Health:
        if self.broken:
            raise RuntimeError("secret thing")
        return Health(self.ready, () if self.ready else ("camera gate is offline",))


async def ask(host: Host, method: str, path: str, client: str = "127.0.0.1", **how) -> httpx.Response:
    api = build_api(lambda: host)

    @api.put("/api/v1/numbers/{number}")
    async def change(number: int) -> int:
        return number

    transport = httpx.ASGITransport(api, client=(client, 5), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as asking:
        return await asking.request(method, path, **how)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/openapi.json",
        "/api/v1/status",
        "/page.js/",
        "/api/v1/numbers/1",
        "/nowhere",
        "/healthz/",
        "http://127.0.0.1:8000//healthz",
    ],
)
@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "right", "Basic right", "Bearer righ", "Bearer right2", "bearer ü"]
)
async def test_where_a_token_is_set_every_path_but_the_health_ones_asks_for_it(path: str, header: str | None):
    headers = {} if header is None else {"authorization": header.encode()}
    answer = await ask(Host(token="right"), "GET", path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["status"] == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_right_token_opens_the_api_also_from_afar(scheme: str):
    headers = {"authorization": f"{scheme} right"}
    assert (await ask(Host(token="right"), "GET", "/api/v1/openapi.json", headers=headers)).status_code == 200
    changed = await ask(Host(token="right"), "PUT", "/api/v1/numbers/1", client="10.0.0.9", headers=headers)
    assert changed.status_code == 200


async def test_a_token_is_asked_for_on_this_machine_too():
    assert (await ask(Host(token="right"), "PUT", "/api/v1/numbers/1")).status_code == 401


@pytest.mark.parametrize("path", list(PAGE_FILES))
async def test_the_page_loads_before_its_user_is_asked_for_the_token(path: str):
    assert (await ask(Host(token="right"), "GET", path)).status_code == 200
    assert (await ask(Host(token="right"), "PUT", path)).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_no_token(path: str):
    assert (await ask(Host(token="right"), "GET", path)).status_code == 200


async def test_without_a_token_everyone_may_read():
    assert (await ask(Host(), "GET", "/api/v1/openapi.json", client="10.0.0.9")).status_code == 200


@pytest.mark.parametrize("client", ["127.0.0.1", "127.3.2.1", "::1"])
async def test_without_a_token_this_machine_may_write(client: str):
    assert (await ask(Host(), "PUT", "/api/v1/numbers/1", client=client)).status_code == 200


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("10.0.0.9", {}),
        ("testclient", {}),
        ("127.0.0.1", {"host": "rebound.example:8000"}),
        ("127.0.0.1", {"origin": "https://evil.example"}),
        ("127.0.0.1", {"origin": "null"}),
    ],
)
async def test_without_a_token_nobody_else_may_write_and_no_page_of_another_site(client: str, headers: dict[str, str]):
    answer = await ask(Host(), "PUT", "/api/v1/numbers/1", client=client, headers=headers)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == PROBLEM
    assert "SIGHTLINE_TOKEN" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "reported"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("DELETE", "/healthz", 405, "Method Not Allowed"),
        ("PUT", "/api/v1/numbers/x", 422, "path.number"),
    ],
)
async def test_every_error_is_a_problem_document(method: str, path: str, status: int, reported: str):
    answer = await ask(Host(), method, path)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == PROBLEM
    assert reported in answer.json()["detail"]


async def test_not_ready_is_a_problem_with_its_reasons():
    answer = await ask(Host(ready=False), "GET", "/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["camera gate is offline"])
    assert answer.headers["content-type"] == PROBLEM


async def test_a_fault_of_ours_is_reported_without_what_went_wrong():
    answer = await ask(Host(broken=True), "GET", "/readyz")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == PROBLEM
    assert "secret" not in answer.text
