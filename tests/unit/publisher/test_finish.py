"""Finishing: what is on its way is settled, the rest waits in the spool, and the last accounts say which."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher import Closing, closing_line
from tests.support.publisher import running_publisher
from tests.support.waiting import until

PATIENCE_S = 20.0
"""Longer than anything here takes: what does not wait for it ends long before."""


async def test_what_kafka_has_not_acknowledged_yet_is_waited_for(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.gate.clear()
        for number in range(1, 4):
            await it.publish(f"{number}", 1, number)
        finishing = asyncio.create_task(it.publisher.finish(PATIENCE_S))
        await until(lambda: it.topic.tries == 3)
        assert not finishing.done()
        it.topic.gate.set()
        assert await finishing == Closing(published=3, spooled=0, quarantined=0)
    assert len(it.topic.records) == 3


async def test_an_event_that_is_being_committed_is_published_too(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("first", 1, 1)  # now the spool is open, and the next one waits only to be committed
        committing = asyncio.create_task(it.publish("a", 1, 2))
        await until(lambda: it.now.in_flight == 1)
        assert await it.publisher.finish(PATIENCE_S) == Closing(2, 0, 0)
        await committing


async def test_while_kafka_is_away_nothing_is_waited_for_and_the_next_publisher_sends_it(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.error = DeliveryUnavailable("away")
        await it.publish("a", 1, 1)
        await it.publish("b", 1, 2)
        await it.until(lambda now: bool(now.trouble))
        async with asyncio.timeout(PATIENCE_S / 2):
            assert await it.publisher.finish(PATIENCE_S) == Closing(0, 2, 0)
    async with running_publisher(tmp_path) as following:
        await following.until(lambda now: now.published == 2)
        assert await following.publisher.finish(PATIENCE_S) == Closing(2, 0, 0)


async def test_patience_ends_with_what_is_on_its_way_kept_in_the_spool(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.gate.clear()
        await it.publish("a", 1, 1)
        assert await it.publisher.finish(0.01) == Closing(0, 1, 0)


async def test_published_counts_this_life_alone_and_quarantine_all_that_is_there(tmp_path: Path):
    async with running_publisher(tmp_path) as before:
        before.topic.error = DeliveryRefused("too large")
        await before.publish("a", 1, 1)
        await before.until(lambda now: now.quarantined == 1)
        before.topic.error = None
        await before.publish("b", 1, 2)
        assert await before.publisher.finish(PATIENCE_S) == Closing(1, 0, 1)
    async with running_publisher(tmp_path) as it:
        await it.publish("c", 1, 3)
        assert await it.publisher.finish(PATIENCE_S) == Closing(1, 0, 1)


async def test_with_kafka_off_there_is_nothing_to_wait_for(tmp_path: Path):
    async with running_publisher(tmp_path, off=True) as it:
        await it.publish("a", 1, 1)
        assert await it.publisher.finish(PATIENCE_S) == Closing(0, 0, 0)


@pytest.mark.parametrize(
    ("closings", "line"),
    [
        ([Closing(7, 0, 0)], "events published: 7, waiting in the spool: 0"),
        ([Closing(7, 2, 0)], "events published: 7, waiting in the spool: 2 (the next start sends them)"),
        ([Closing(1, 0, 2)], "events published: 1, waiting in the spool: 0, in quarantine: 2"),
        (
            [Closing(1, 0, 0), None],
            "events published: 1, waiting in the spool: 0; 1 of 2 publishers did not answer",
        ),
    ],
)
def test_one_line_has_the_sums_and_what_is_not_known(closings: list[Closing | None], line: str):
    assert closing_line(closings) == line
