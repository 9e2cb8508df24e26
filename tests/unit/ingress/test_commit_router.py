"""The way of events to the publisher's shards: each camera to its own, and none held up by another's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app.errors import DeliveryUnavailable, SightlineError
from app.ingress.commit_router import CommitRouter
from app.publisher import Receipt, Submission, shard_of
from tests.support.publisher import event
from tests.support.waiting import until

CAMERAS = [f"cam-{number}" for number in range(12)]


class Shard:
    """A publisher that keeps the batches it gets, and answers when and as it is let."""

    def __init__(self) -> None:
        self.batches: list[list[Submission]] = []
        self.error: SightlineError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, submissions: Sequence[Submission]) -> Sequence[Receipt | SightlineError]:
        self.batches.append(list(submissions))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [Receipt(one.event.event_id) for one in submissions]

    @property
    def cameras(self) -> set[str]:
        return {one.event.camera_id for batch in self.batches for one in batch}


def commits(shards: Sequence[Shard], **how: int) -> CommitRouter:
    return CommitRouter(shards, **{"max_batch": 64, "max_waiting": 8, "calls": 1, **how})


def of(shard: int, count: int = 3) -> str:
    """Return a camera that a shard has."""
    return next(camera for camera in CAMERAS if shard_of(camera, count) == shard)


async def test_a_camera_s_events_all_go_to_the_shard_that_has_it_in_their_order():
    shards = [Shard(), Shard(), Shard()]
    way = commits(shards, max_waiting=100)
    for number in range(5):
        await asyncio.gather(*(way.commit(Submission(event(f"{number}", camera))) for camera in CAMERAS))
    for index, shard in enumerate(shards):
        assert shard.cameras == {camera for camera in CAMERAS if shard_of(camera, 3) == index} != set()
        for camera in shard.cameras:
            frames = [one.event.frame_id for batch in shard.batches for one in batch if one.event.camera_id == camera]
            assert frames == ["0", "1", "2", "3", "4"]


async def test_events_that_come_together_are_one_call_to_each_shard():
    shards = [Shard(), Shard(), Shard()]
    way = commits(shards, max_waiting=100)
    await asyncio.gather(*(way.commit(Submission(event("f", camera))) for camera in CAMERAS))
    assert [len(shard.batches) for shard in shards] == [1, 1, 1]


async def test_a_shard_that_is_away_fails_its_own_cameras_alone():
    shards = [Shard(), Shard(), Shard()]
    shards[1].error = DeliveryUnavailable("it is being started")
    way = commits(shards)
    with pytest.raises(DeliveryUnavailable, match="being started"):
        await way.commit(Submission(event("f", of(1))))
    for shard in (0, 2):
        assert (await way.commit(Submission(event("f", of(shard))))).event_id


async def test_a_shard_that_is_stuck_holds_nobody_else_up_and_takes_nobody_else_s_room():
    shards = [Shard(), Shard(), Shard()]
    shards[1].gate.clear()
    way = commits(shards, max_waiting=2)
    stuck = []
    for number in range(3):
        stuck.append(asyncio.ensure_future(way.commit(Submission(event(f"{number}", of(1))))))
        await until(lambda: bool(shards[1].batches))
    await until(lambda: way.waiting == 2)
    with pytest.raises(DeliveryUnavailable, match="too many events wait"):
        await way.commit(Submission(event("one more", of(1))))
    for number in range(10):
        assert await way.commit(Submission(event(f"{number}", of(0))))
    assert not any(task.done() for task in stuck)
    shards[1].gate.set()
    assert len(await asyncio.gather(*stuck)) == 3


async def test_closing_sees_what_is_under_way_through_and_refuses_the_rest():
    shard = Shard()
    shard.gate.clear()
    way = commits([shard])
    first = asyncio.ensure_future(way.commit(Submission(event("0"))))
    await until(lambda: bool(shard.batches))
    second = asyncio.ensure_future(way.commit(Submission(event("1"))))
    await until(lambda: way.waiting == 1)
    closing = asyncio.create_task(way.close())
    with pytest.raises(DeliveryUnavailable, match="shutting down"):
        await second
    shard.gate.set()
    await closing
    assert (await first).event_id
