"""HTTP cameras and the proxies of the environment: real servers as camera and as proxy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.http_server import HttpServer
from tests.support.paths import ROOT
from tests.support.rows import Rows

PROGRAM = """
import sys
from app.cameras import open_source
from app.errors import SourceUnavailable
from app.settings.source_url import SourceUrl
source = open_source(SourceUrl.parse(sys.argv[1]), 5)
try:
    source.open()
    print("frame" if source.grab() is not None else "none")
except SourceUnavailable:
    print("unavailable")
finally:
    source.close()
"""


class Proxy(HttpServer):
    """Answers 502 to every request, and keeps what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.trouble = self._refuse

    def _refuse(self, request: object) -> None:
        self.asked.append(request.path)  # type: ignore[attr-defined]
        request.send_error(502)  # type: ignore[attr-defined]


@pytest.fixture
def camera() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        yield server


def opened(url: str, **environment: str) -> str:
    """Return what became of a camera in a process with these variables."""
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url],
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "no_proxy",
    [
        {"no_proxy": "10.1.2.3,127.0.0.1"},
        {"NO_PROXY": "127.0.0.1"},
        {"no_proxy": "127.0.0.0/8"},
        {"no_proxy": "127.0.0.1:{port}"},
        {"no_proxy": "*"},
    ],
    ids=lambda one: json.dumps(one),
)
def test_a_camera_whose_host_is_in_no_proxy_is_asked_directly(
    camera: HttpServer, proxy: Proxy, no_proxy: dict[str, str], rows: Rows
):
    named = {name: value.format(port=camera.port) for name, value in no_proxy.items()}
    assert opened(camera.url(), http_proxy=f"http://127.0.0.1:{proxy.port}", **named) == "frame"
    assert proxy.asked == []
    rows.add("HTTP", "`http_proxy` set, host, network or port in `no_proxy`", "asked directly")


def test_a_camera_by_name_is_asked_directly_where_no_proxy_names_it_in_another_case(camera: HttpServer, proxy: Proxy):
    url = camera.url().replace("127.0.0.1", "LocalHost")
    assert opened(url, http_proxy=f"http://127.0.0.1:{proxy.port}", no_proxy="other.example, LOCALHOST") == "frame"
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("http_proxy", "http://127.0.0.1:{port}"),
        ("HTTP_PROXY", "http://127.0.0.1:{port}"),
        ("http_proxy", "127.0.0.1:{port}"),
    ],
)
def test_any_other_camera_is_asked_through_the_proxy(
    camera: HttpServer, proxy: Proxy, variable: str, value: str, rows: Rows
):
    environment = {variable: value.format(port=proxy.port), "no_proxy": "10.0.0.0/8,27.0.0.1,127.0.0.1:1"}
    assert opened(camera.url(), **environment) == "unavailable"
    assert set(proxy.asked) == {camera.url()}
    rows.add("HTTP", "`http_proxy` set, host not in `no_proxy`", "asked through the proxy")


def test_the_proxy_for_https_is_not_asked_for_a_camera_over_http(camera: HttpServer, proxy: Proxy):
    assert opened(camera.url(), https_proxy=f"http://127.0.0.1:{proxy.port}") == "frame"
    assert proxy.asked == []
