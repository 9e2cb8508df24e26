"""The page where a token is set: a real Chromium over the API of a stand-in system."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import uvicorn

from app.cameras import Picture
from app.web import build_api
from tests.conftest import wait_for
from tests.e2e.browser import Page, browser
from tests.e2e.faults.ground import free_ports
from tests.unit.test_web_reading import NOW, System

TOKEN = "right-7f3a"
PICTURE = cv2.imencode(".jpg", np.full((36, 64, 3), 90, np.uint8))[1].tobytes()
ASKED = "document.getElementById('ask').open"
LINKED = "document.getElementById('link').textContent === 'connected'"


class Guarded(System):
    """The stand-in, with a token and a picture that is one."""

    def __init__(self) -> None:
        super().__init__()
        self.token = TOKEN

    async def picture(self, camera_id: str) -> Picture | None:
        return Picture(camera_id, "7-1", NOW, True, PICTURE)


@pytest.fixture
def address() -> Iterator[str]:
    (port,) = free_ports(1)
    made: list[Guarded] = []

    def host() -> Guarded:
        made[:] = made or [Guarded()]  # on the server's own event loop
        return made[0]

    server = uvicorn.Server(uvicorn.Config(build_api(host), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, 30, "the server")
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = server.force_exit = True  # it would wait for streams that are open
    thread.join(10)


@pytest.fixture
def page(address: str, tmp_path: Path) -> Iterator[Page]:
    """A tab that is closed before the server is: neither then waits for the other."""
    with browser(tmp_path) as tab:
        yield tab


def give(page: Page, token: str) -> None:
    """Write a token and go on, as one does."""
    page.run("document.getElementById('token').focus()")
    page.type(token)
    page.press("Enter", 13, "\r")


def test_the_page_asks_for_the_token_keeps_it_in_the_tab_and_sends_it_with_everything(address: str, page: Page):
    page.open(address)
    page.wait(ASKED)
    assert page.run("document.getElementById('wrong').hidden") is True
    give(page, "wrong")
    page.wait(f"{ASKED} && !document.getElementById('wrong').hidden")
    assert page.run("document.querySelectorAll('article').length") == 0
    give(page, TOKEN)
    page.wait(LINKED)
    page.wait("document.querySelector('#camera-gate img').naturalWidth === 64")  # a picture by fetch, as a blob
    page.wait("document.querySelectorAll('#camera-gate svg rect.box').length === 1")
    page.wait("document.querySelectorAll('#events li').length > 0")
    page.call("Page.reload")
    page.wait(f"{LINKED} && !{ASKED}")
    assert page.run("Object.keys(localStorage).length") == 0
    assert page.run("document.cookie") == ""
    assert not any(TOKEN in url for url in page.requested)
