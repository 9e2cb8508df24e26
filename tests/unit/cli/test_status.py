"""What ``sightline status`` shows of the system."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from app.cli.status import screen
from app.web.schemas import StatusModel
from tests.support.api_system import PUBLISHER, System


async def shown(**publisher: object) -> str:
    facts = await System().facts(0)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(screen(StatusModel.of(replace(facts, publisher=replace(PUBLISHER, **publisher)))))
    return capture.get()


@pytest.mark.parametrize(("away", "told"), [((), False), ((2,), True)])
async def test_a_ledger_that_lacks_a_shard_s_part_says_so(away: tuple[int, ...], told: bool):
    text = " ".join((await shown(away=away)).split())
    assert "9 accepted = 7 published + 2 spooled + 0 quarantined + 0 discarded" in text
    assert ("WITHOUT publisher 2, which does not answer" in text) == told


async def test_the_first_line_tells_what_is_in_quarantine_and_why_kafka_gets_nothing():
    assert (await shown()).splitlines()[0] == "1 of 1 cameras live; nothing is wrong with them"
    first = (await shown(quarantined=2, refusal="too old")).splitlines()[0]
    assert "; 2 events are in quarantine, the newest: too old ('sightline quarantine list'" in first
    assert (
        "; events do not reach Kafka: no broker answers" in (await shown(trouble="no broker answers")).splitlines()[0]
    )
