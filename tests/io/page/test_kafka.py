"""What the page says of Kafka and of quarantine: a real Chromium over the API of a stand-in system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.publisher import PublisherSnapshot
from app.web import BrokerFacts, SystemFacts
from tests.support.api_system import PUBLISHER
from tests.support.browser import Page, browser
from tests.support.page_server import Seen, serving

SERVERS = ("k1:9092", "k2:9092")
AWAY = "k1:9092 refuses the credentials of user 'ann' (Authentication failed)"
DEAD = "nothing listens on k2:9092"
BAD = "Kafka refuses the event: it is larger than the topic's max.message.bytes (MESSAGE_TOO_LARGE)"


class Delivering(Seen):
    """The stand-in, with a Kafka of one's own and what its publisher says of it."""

    def __init__(self) -> None:
        super().__init__()
        self.publisher: PublisherSnapshot | None = PUBLISHER

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        usual = await super().facts(viewers, seconds)
        broker = BrokerFacts(enabled=True, embedded=False, servers=SERVERS, topic="events.detections")
        return replace(usual, publisher=self.publisher, broker=broker)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path) as tab:
        yield tab


def row(name: str) -> str:
    """Return an expression for what stands beside a name in the table of the system: text and tone."""
    found = f"[...document.querySelectorAll('#system dt')].find((one) => one.textContent === '{name}')"
    return f"(([text]) => text && [text.textContent, text.dataset.tone ?? ''].join(' | '))([{found}?.nextSibling])"


def is_shown(name: str, text: str) -> str:
    """Return an expression that is true once the row says so."""
    return f"{row(name)} === {json.dumps(text)}"


def test_what_keeps_events_from_kafka_an_address_that_fails_and_quarantine_each_have_their_line(page: Page):
    with serving(Delivering) as (address, system):
        page.open(address)
        page.wait(is_shown("Kafka", "delivering to k1:9092, k2:9092 | "))
        assert page.run(row("quarantine")) is None
        system().publisher = replace(PUBLISHER, broker_warning=DEAD)
        page.wait(is_shown("Kafka", f"delivering to k1:9092, k2:9092; but {DEAD} | wait"))
        system().publisher = replace(PUBLISHER, trouble=AWAY)
        page.wait(is_shown("Kafka", f"▲ {AWAY} | bad"))
        system().publisher = replace(PUBLISHER, quarantined=3, refusal=BAD)
        page.wait(is_shown("quarantine", f"▲ {system().publisher.quarantine_trouble} | bad"))
        assert BAD in page.run(row("quarantine"))
        system().publisher = None
        page.wait(is_shown("Kafka", "▲ the publisher does not answer | bad"))
        assert page.run("document.body.dataset.fault ?? ''") == ""
