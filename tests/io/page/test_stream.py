"""The page when its stream falls silent or is refused: a real Chromium over the API of a stand-in system."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.cameras import Cursor, NewFrames
from app.web import SystemFacts
from app.web.event_hub import MAX_VIEWERS
from tests.support.browser import Page, browser
from tests.support.page_server import LINK, LINKED, Seen, serving
from tests.support.waiting import wait_for

SILENCE_MS = 1500
"""In the place of the page's own patience."""


class Mute(Seen):
    """The stand-in, whose streams stay open and say nothing while it is quiet."""

    quiet = False

    async def new_frames(self, after: Mapping[str, Cursor]) -> Sequence[NewFrames]:
        return () if self.quiet else await super().new_frames(after)

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        while self.quiet:
            await asyncio.sleep(0.02)
        return await super().facts(viewers, seconds)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path) as tab:
        yield tab


def test_a_stream_that_dies_without_a_word_is_noticed_and_opened_again(page: Page):
    with serving(Mute) as (address, system):
        page.open(address)
        page.wait(f"{LINKED} && document.querySelectorAll('#events li').length > 0")
        assert page.run("Number(document.body.dataset.silenceMs)") >= 3 * 2000  # the status comes every two seconds
        page.run(f"document.body.dataset.silenceMs = {SILENCE_MS}")
        seen = page.run("document.querySelector('#events li').dataset.event")
        page.wait(f"document.querySelector('#events li').dataset.event !== '{seen}'")  # the patience is the new one
        assert page.run(LINKED)
        system().quiet = True
        page.wait(f"{LINK}.startsWith('no connection')")
        system().quiet = False
        page.wait(LINKED)
        wait_for(lambda: system().readings.hub.viewers == 1, 10, "the dead stream to be gone")


def test_one_viewer_too_many_is_refused_and_let_in_when_another_leaves(page: Page):
    with serving(Seen) as (address, system), ExitStack() as others:
        client = others.enter_context(httpx.Client(limits=httpx.Limits(max_connections=None), timeout=30))
        stream = f"{address}api/v1/events/stream"
        watching = [others.enter_context(client.stream("GET", stream)) for _ in range(MAX_VIEWERS)]
        assert {answer.status_code for answer in watching} == {200}
        page.open(address)
        page.wait(f"{LINK} === 'too many viewers: {MAX_VIEWERS} event streams are open already; trying again'")
        assert page.run("document.getElementById('link').dataset.tone") == "bad"
        watching[0].close()
        page.wait(LINKED)
        assert system().readings.hub.viewers == MAX_VIEWERS
