"""HTTP cameras and the proxies of the environment: real servers as camera and as proxy."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.cameras.sources import open_source
from app.core.clock import Clock
from app.errors import SourceUnavailable
from app.settings.source_url import SourceUrl
from tests.support.accounts import Account
from tests.support.certificates import self_signed
from tests.support.http_server import HttpServer
from tests.support.rows import Rows
from tests.support.rtsp_server import RtspServer

Opened = Callable[..., str]


class Proxy(HttpServer):
    """Answers 502 to every request, and keeps what was asked and which account was named."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.accounts: list[str] = []
        self.trouble = self._refuse

    def _refuse(self, request: object) -> None:
        self.asked.append(request.path)  # type: ignore[attr-defined]
        self.accounts.append(request.headers.get("Proxy-Authorization", ""))  # type: ignore[attr-defined]
        request.send_error(502)  # type: ignore[attr-defined]


@pytest.fixture
def camera() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        yield server


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Return a function: what becomes of a camera in a process with these variables of proxies."""

    def open_with(url: str, **environment: str) -> str:
        for name in (name for name in os.environ if name.lower().endswith("_proxy")):
            monkeypatch.delenv(name)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.delenv("no_proxy")  # restored at the end, also where the camera sets it
        for name, value in environment.items():
            monkeypatch.setenv(name, value)  # the process's own: FFmpeg sees it as well
        source = open_source(SourceUrl.parse(url), 5, Clock())
        try:
            source.open()
            return "frame" if source.grab() is not None else "none"
        except SourceUnavailable:
            return "unavailable"
        finally:
            source.close()

    return open_with


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
    camera: HttpServer, proxy: Proxy, opened: Opened, no_proxy: dict[str, str], rows: Rows
):
    named = {name: value.format(port=camera.port) for name, value in no_proxy.items()}
    assert opened(camera.url(), http_proxy=f"http://127.0.0.1:{proxy.port}", **named) == "frame"
    assert proxy.asked == []
    rows.add("HTTP", "`http_proxy` set, host, network or port in `no_proxy`", "asked directly")


def test_a_camera_by_name_is_asked_directly_where_no_proxy_names_it_in_another_case(
    camera: HttpServer, proxy: Proxy, opened: Opened
):
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
    camera: HttpServer, proxy: Proxy, opened: Opened, variable: str, value: str, rows: Rows
):
    environment = {variable: value.format(port=proxy.port), "no_proxy": "10.0.0.0/8,27.0.0.1,127.0.0.1:1"}
    assert opened(camera.url(), **environment) == "unavailable"
    assert set(proxy.asked) == {camera.url()}
    rows.add("HTTP", "`http_proxy` set, host not in `no_proxy`", "asked through the proxy")


def test_the_proxy_for_https_is_not_asked_for_a_camera_over_http(camera: HttpServer, proxy: Proxy, opened: Opened):
    assert opened(camera.url(), https_proxy=f"http://127.0.0.1:{proxy.port}") == "frame"
    assert proxy.asked == []


def test_a_camera_over_rtsps_is_asked_directly_whatever_the_proxy_for_http(
    proxy: Proxy, opened: Opened, tmp_path: Path, rows: Rows
):
    with RtspServer(tls=self_signed(tmp_path)) as camera:
        assert opened(camera.url(), http_proxy=f"http://127.0.0.1:{proxy.port}", no_proxy="10.0.0.1") == "frame"
    assert proxy.asked == []
    rows.add("RTSPS", "`http_proxy` set", "asked directly")


def test_a_proxy_s_own_account_is_named_to_it_and_to_nobody_else(
    camera: HttpServer, proxy: Proxy, opened: Opened, rows: Rows
):
    assert opened(camera.url(), http_proxy=f"http://me:p%40ss@127.0.0.1:{proxy.port}") == "unavailable"
    assert proxy.accounts == ["Basic " + base64.b64encode(b"me:p@ss").decode()]
    camera.account = Account("me", "p@ss", "Basic")
    assert opened(camera.url(), http_proxy=f"http://me:p%40ss@127.0.0.1:{proxy.port}", no_proxy="*") == "unavailable"
    rows.add("HTTP", "a proxy with an account of its own", "the account is named to the proxy")
