"""Commands that ask the running system, over a small HTTP server of the test's own."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from app.errors import SettingsError, SystemAway, SystemRefused
from app.web.client import ApiClient, address_of
from tests.support.paths import ROOT

PROBLEM = b'{"type": "about:blank", "title": "Unavailable", "status": 503, "detail": "the manager is being started"}'


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[str | None]]]:
    asked: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET  # noqa: N815 - as the standard library has it

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"http_options": {"host": "0.0.0.0", "port": 81}}, "http://127.0.0.1:81"),
        ({"http_options": {"host": "::"}}, "http://[::1]:8000"),
        ({"http_options": {"host": "edge.example", "port": 82}}, "http://edge.example:82"),
    ],
)
def test_the_address_is_the_serve_configuration_s(options: dict[str, object], address: str):
    assert address_of(options) == address


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_system_is_asked_past_the_proxy_of_the_environment(variable: str):
    code = "import sys; from app.web.client import ApiClient; print(ApiClient(sys.argv[1]).cameras())"
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment = {**clean, "PYTHONPATH": str(ROOT), variable: "http://127.0.0.1:9"}
    with answering(200, b"[]") as (address, asked):
        done = subprocess.run(
            [sys.executable, "-c", code, address], env=environment, capture_output=True, text=True, check=True
        )
    assert done.stdout == "()\n"
    assert len(asked) == 1


def test_the_token_is_sent():
    with answering(200, b"[]") as (address, asked):
        assert ApiClient(address, SecretStr("right")).cameras() == ()
        assert ApiClient(address).cameras() == ()
    assert asked == ["Bearer right", None]


@pytest.mark.parametrize(
    ("status", "body", "reported"),
    [
        (401, b"", "SIGHTLINE_TOKEN"),
        (503, PROBLEM, "the manager is being started"),
        (500, b"<html>", "500"),
        (200, b"<html>hello", "not Sightline"),
    ],
)
def test_an_answer_that_is_none_is_one_line(status: int, body: bytes, reported: str):
    with answering(status, body) as (address, _), pytest.raises(SystemRefused, match=reported) as raised:
        ApiClient(address).status()
    assert "\n" not in str(raised.value)


def refusal(status: int, detail: str) -> bytes:
    return json.dumps({"title": "No", "status": status, "detail": detail}).encode()


@pytest.mark.parametrize(
    ("status", "detail", "reported"),
    [
        (409, "there is a camera 'a' already", "there is a camera 'a' already"),
        (422, "body.fps: Input should be greater than 0", "fps: Input should be greater than 0"),
        (404, "there is no camera 'a'", "there is no camera 'a'"),
    ],
)
def test_a_change_that_is_wrong_is_its_user_s_mistake(status: int, detail: str, reported: str):
    with answering(status, refusal(status, detail)) as (address, _):
        for change in (lambda: ApiClient(address).add("a", {}), lambda: ApiClient(address).remove("a")):
            with pytest.raises(SettingsError) as raised:
                change()
            assert str(raised.value) == reported


@pytest.mark.parametrize(
    ("status", "reported"), [(401, "SIGHTLINE_TOKEN"), (503, "cannot be written"), (403, "cannot")]
)
def test_a_change_that_could_not_be_made_is_a_failure(status: int, reported: str):
    body = refusal(status, "it cannot be written")
    with answering(status, body) as (address, _), pytest.raises(SystemRefused, match=reported):
        ApiClient(address).remove("a")


def test_silence_is_one_line_that_says_what_to_do():
    with pytest.raises(SystemAway, match="sightline up"):
        ApiClient("http://127.0.0.1:9").status()
