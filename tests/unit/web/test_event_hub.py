"""The hub: one call to each camera while somebody watches, none while nobody does, and nobody is held up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from app.cameras import AnsweredFrame, Cursor, FrameLatency, NewFrames, Picture
from app.web.event_hub import MAX_VIEWERS, QUEUE, EventHub, TooManyViewers
from app.web.shared_answer import SharedAnswer

START = datetime(2026, 1, 10, 12, tzinfo=UTC)


def frame(number: int, camera_id: str = "gate") -> AnsweredFrame:
    return AnsweredFrame(
        number=number,
        camera_id=camera_id,
        frame_id=f"1-{number}",
        event_id=f"event-{number}",
        captured_at=START + timedelta(seconds=number),
        width=640,
        height=360,
        model="street.pt",
        objects=(),
        latency=FrameLatency(1, 2, 3, 4, 5, 6, 21),
    )


class Cameras:
    """Cameras that see one more frame whenever they are asked."""

    def __init__(self, *ids: str) -> None:
        self.camera_ids: Sequence[str] = ids
        self.asked = 0
        self.cursors: list[Mapping[str, Cursor]] = []
        self.changed = asyncio.Event()

    async def new_frames(self, after: Mapping[str, Cursor]) -> Sequence[NewFrames]:
        self.asked += 1
        self.cursors.append(after)
        self.changed.set()
        return [NewFrames(name, 1, (frame(cursor.number + 1, name),)) for name, cursor in after.items()]

    async def picture(self, camera_id: str) -> Picture | None:
        return None


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_nobody_watching_costs_the_cameras_nothing_and_any_number_the_same():
    cameras = Cameras("gate")
    hub = EventHub(cameras)
    assert cameras.asked == 0
    async with hub.watch() as first, hub.watch() as second, hub.watch() as third:
        for viewer in (first, second, third):
            assert [seen.number for seen in await viewer.take(5)] == [2]  # 1 was seen before anybody watched
        assert hub.viewers == 3
        assert cameras.asked == 2
    assert hub.viewers == 0
    asked = cameras.asked
    cameras.changed.clear()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(cameras.changed.wait(), 0.7)
    assert cameras.asked == asked


async def test_each_collection_goes_on_where_the_last_one_ended():
    time = Time()
    hub = EventHub(cameras := Cameras("gate", "yard"), time)
    assert {seen.frame_id for seen in await hub.recent(None, 10)} == {"1-1"}
    time.now += 1
    assert [seen.number for seen in await hub.recent("gate", 10)] == [2, 1]
    assert cameras.cursors[-1] == {"gate": Cursor(1, 1), "yard": Cursor(1, 1)}


async def test_asking_again_within_the_period_asks_no_camera():
    hub = EventHub(cameras := Cameras("gate"), Time())
    await asyncio.gather(*(hub.recent(None, 10) for _ in range(10)))
    assert cameras.asked == 1


async def test_a_camera_that_is_no_more_is_forgotten():
    time = Time()
    hub = EventHub(cameras := Cameras("gate", "yard"), time)
    await hub.recent(None, 10)
    cameras.camera_ids = ("yard",)
    time.now += 1
    assert {seen.camera_id for seen in await hub.recent(None, 10)} == {"yard"}


async def test_a_slow_viewer_misses_the_oldest_frames_and_is_reported_how_many():
    hub = EventHub(Cameras())
    async with hub.watch() as viewer:
        viewer.put([frame(number) for number in range(QUEUE + 5)])
        taken = await viewer.take(1)
        assert (len(taken), taken[0].number, viewer.missed) == (QUEUE, 5, 5)
        assert await viewer.take(0.01) == []


async def test_one_viewer_too_many_is_refused_and_the_others_stay():
    hub = EventHub(Cameras())
    watching = [hub.watch() for _ in range(MAX_VIEWERS)]
    for one in watching:
        await one.__aenter__()
    with pytest.raises(TooManyViewers):
        await hub.watch().__aenter__()
    for one in watching:
        await one.__aexit__(None, None, None)
    assert hub.viewers == 0


async def test_an_answer_is_shared_for_a_while_and_a_failure_is_not():
    time, asked = Time(), []

    async def ask() -> int:
        asked.append(1)
        await asyncio.sleep(0)
        if len(asked) == 1:
            raise RuntimeError("away")
        return len(asked)

    cached = SharedAnswer(ask, 1.0, time)
    with pytest.raises(RuntimeError, match="away"):
        await cached.get()
    assert set(await asyncio.gather(*(cached.get() for _ in range(10)))) == {2}
    time.now += 2
    assert await cached.get() == 3


async def test_who_leaves_does_not_take_the_answer_away_from_the_others():
    release = asyncio.Event()

    async def ask() -> str:
        await release.wait()
        return "there"

    cached = SharedAnswer(ask, 1.0)
    first, second = asyncio.ensure_future(cached.get()), asyncio.ensure_future(cached.get())
    await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second == "there"
