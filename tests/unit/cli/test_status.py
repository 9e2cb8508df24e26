"""What ``sightline status`` shows of the system."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from app.cli.status import screen
from app.web.schemas import StatusModel
from tests.support.api_system import PUBLISHER, System


async def shown(away: tuple[int, ...]) -> str:
    facts = await System().facts(0)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(screen(StatusModel.of(replace(facts, publisher=replace(PUBLISHER, away=away)))))
    return " ".join(capture.get().split())


@pytest.mark.parametrize(("away", "told"), [((), False), ((2,), True)])
async def test_a_ledger_that_lacks_a_shard_s_part_says_so(away: tuple[int, ...], told: bool):
    text = await shown(away)
    assert "9 accepted = 7 published + 2 spooled + 0 quarantined + 0 discarded" in text
    assert ("WITHOUT publisher 2, which does not answer" in text) == told
