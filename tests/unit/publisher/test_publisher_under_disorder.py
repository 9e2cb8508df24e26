"""The publisher under disorder: its accounts and its order, whatever sink and callers do, and whenever it dies."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from app.errors import DeliveryUnavailable, OrderError
from app.publisher import Submission, read_accounts
from tests.support.publisher import FickleTopic, event, running_publisher


@pytest.mark.parametrize("seed", range(3))
async def test_every_event_is_in_exactly_one_place_at_any_instant(tmp_path: Path, seed: int):
    topic = FickleTopic(seed, failing=0.2)
    names = [f"poison-{number}" if number % 10 == 0 else str(number) for number in range(60)]
    async with running_publisher(tmp_path, topic) as it:
        calls = [
            asyncio.create_task(it.publisher.publish(Submission(event(name, f"cam-{number % 20}"))))
            for number, name in enumerate(names)
        ]
        async with asyncio.timeout(30):
            while it.now.published + it.now.quarantined < 60:
                now, disk = it.now, read_accounts_if_there(tmp_path)
                assert now.accepted == now.published + now.spooled + now.quarantined + now.discarded
                assert disk is None or disk.balanced
                await asyncio.sleep(0.001)
        await asyncio.gather(*calls)
        assert (it.now.published, it.now.quarantined) == (54, 6)


def read_accounts_if_there(folder: Path):
    try:
        return read_accounts(folder)
    except DeliveryUnavailable:
        return None


@pytest.mark.parametrize("seed", range(8))
async def test_the_topic_rises_in_epoch_and_sequence_whatever_fails_is_repeated_or_dies(tmp_path: Path, seed: int):
    chance = random.Random(seed)
    topic = FickleTopic(seed, failing=0.2)
    turns = [(epoch, sequence) for epoch in (1, 2, 3) for sequence in range(1, 15)]
    turns += chance.sample(turns, 20)  # sent again, or late
    turns.sort(key=lambda turn: turn[0] * 15 + turn[1] + chance.uniform(0, 6))
    accepted: set[str] = set()
    for life in range(3):  # three publishers, one after the other, on one spool
        async with running_publisher(tmp_path, topic) as it:
            mine = turns[life * len(turns) // 3 : (life + 1) * len(turns) // 3]

            async def publish(turn: tuple[int, int], it=it) -> None:
                frame = f"{turn[0]:03}-{turn[1]:03}"
                try:
                    await it.publisher.publish(Submission(event(frame), *turn))
                    accepted.add(frame)
                except OrderError:
                    pass

            calls = []
            for turn in mine:
                calls.append(asyncio.create_task(publish(turn)))
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
            await asyncio.gather(*calls)
    async with running_publisher(tmp_path, topic) as it:
        await it.until(lambda now: now.accepted and now.spooled == 0)
    first = list(dict.fromkeys(topic.frames))
    assert len(first) > 10
    assert first == sorted(first)
    assert set(first) == accepted
