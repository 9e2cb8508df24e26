"""The page where a token is set: a real Chromium over the API of a stand-in system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Page, browser
from tests.support.page_server import LINKED, Seen, serving

TOKEN = "right-7f3a"
ASKED = "document.getElementById('ask').open"


class Guarded(Seen):
    """The stand-in, with a token."""

    def __init__(self) -> None:
        super().__init__()
        self.token = TOKEN


@pytest.fixture
def address() -> Iterator[str]:
    with serving(Guarded) as (address, _):
        yield address


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
    page.wait("document.getElementById('system').textContent.includes('embedded broker')")
    page.call("Page.reload")
    page.wait(f"{LINKED} && !{ASKED}")
    assert page.run("Object.keys(localStorage).length") == 0
    assert page.run("document.cookie") == ""
    assert not any(TOKEN in url for url in page.requested)
