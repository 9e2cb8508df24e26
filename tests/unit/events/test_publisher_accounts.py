"""The publisher under disorder: its accounts, its order and its memory, whatever sink, observer and callers do."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from app.errors import DeliveryRefused, DeliveryUnavailable, FrameRepeated, OrderError
from app.events import DetectionEvent, EventPublisher, EventRecord, SeenObject, StageLatencies, Submission
from app.events.publisher import CAMERA_IDLE_S, MAX_CAMERAS

BOX = (1.0, 2.0, 3.0, 4.0)


class FickleTopic:
    """A sink that takes its time by chance, and fails by chance; it keeps what it acknowledged, in its order."""

    def __init__(self, seed: int = 0, failing: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._failing = failing
        self._last = asyncio.Event()
        self._last.set()
        self.handed_over: list[bytes] = []
        self.acknowledged: list[bytes] = []

    async def send(self, record: EventRecord) -> object:
        """Acknowledge in the order of the calls, as a partition does."""
        self.handed_over.append(record.value)
        before, self._last = self._last, asyncio.Event()
        mine = self._last
        fails = self._random.random() < self._failing
        try:
            for _ in range(self._random.randrange(4)):
                await asyncio.sleep(0)
            await before.wait()
            if fails:
                raise self._random.choice([DeliveryUnavailable, DeliveryRefused])("by chance")
            self.acknowledged.append(record.value)
        finally:
            mine.set()
        return None


class Deaf:
    """An observer that is told, and does nothing."""

    def published(self, camera_id: str, total_s: float, publish_s: float, breach: bool) -> None:
        pass


class Broken:
    """An observer with a bug."""

    def published(self, camera_id: str, total_s: float, publish_s: float, breach: bool) -> None:
        raise RuntimeError("no metrics today")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int(self.now * 1e9)


def event(frame: str, camera: str = "cam", box: tuple[float, float, float, float] = BOX) -> DetectionEvent:
    objects = (SeenObject("car", 2, 0.9, box),)
    return DetectionEvent(camera, frame, 999_950_000_000, 640, 360, "m.pt", objects, StageLatencies(1, 1, 1, 1, 1))


def publisher(topic: FickleTopic | None, clock: Clock | None = None, observer=None) -> EventPublisher:
    clock = clock or Clock()
    return EventPublisher(
        topic, budget_ms=200, observer=observer or Deaf(), wall_ns=clock.wall_ns, monotonic=clock.monotonic
    )


@pytest.mark.parametrize("seed", range(5))
async def test_every_event_is_in_exactly_one_place_at_any_instant(seed: int):
    made = publisher(FickleTopic(seed, failing=0.3))
    calls = [asyncio.create_task(made.publish(Submission(event(str(number))))) for number in range(100)]
    await asyncio.sleep(0)
    while not all(call.done() for call in calls):
        now = made.snapshot()
        assert now.accepted == now.published + now.discarded
        assert now.accepted + now.refused + now.failed + now.in_flight == 100
        await asyncio.sleep(0)
    await asyncio.gather(*calls, return_exceptions=True)
    assert made.snapshot().in_flight == 0


@pytest.mark.parametrize("seed", range(20))
async def test_what_is_acknowledged_rises_in_epoch_and_sequence_whatever_fails_and_is_tried_again(seed: int):
    chance = random.Random(seed)
    topic = FickleTopic(seed, failing=0.3)
    made = publisher(topic)
    turns = [(epoch, sequence) for epoch in (1, 2, 3) for sequence in range(1, 15)]
    turns += chance.sample(turns, 20)  # tried again, or late
    turns.sort(key=lambda turn: turn[0] * 15 + turn[1] + chance.uniform(0, 6))

    async def publish(turn: tuple[int, int]) -> None:
        await made.publish(Submission(event(f"{turn[0]:03}-{turn[1]:03}"), *turn))

    calls = []
    for turn in turns:
        calls.append(asyncio.create_task(publish(turn)))
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, (OrderError, DeliveryUnavailable, DeliveryRefused, type(None))) for one in outcomes)
    frames = [value.split(b'"frame_id":"')[1][:7] for value in topic.acknowledged]
    assert len(frames) > 10
    assert frames == sorted(set(frames))


async def test_records_reach_the_sink_in_the_order_of_the_calls():
    topic = FickleTopic(3)
    made = publisher(topic)
    await asyncio.gather(*(made.publish(Submission(event(f"{number:07}"), 1, number)) for number in range(1, 200)))
    frames = [value.split(b'"frame_id":"')[1][:7] for value in topic.handed_over]
    assert frames == sorted(frames)


async def test_a_frame_that_failed_is_not_published_after_a_later_one():
    class FailsFirst(FickleTopic):
        async def send(self, record: EventRecord) -> object:
            if not self.handed_over:
                self.handed_over.append(record.value)
                await asyncio.sleep(0)
                raise DeliveryUnavailable("away")
            return await super().send(record)

    made = publisher(FailsFirst())
    first, second = await asyncio.gather(
        made.publish(Submission(event("one"), 1, 1)),
        made.publish(Submission(event("two"), 1, 2)),
        return_exceptions=True,
    )
    assert isinstance(first, DeliveryUnavailable)
    assert not isinstance(second, BaseException)
    with pytest.raises(FrameRepeated):
        await made.publish(Submission(event("one"), 1, 1))


async def test_an_observer_that_fails_does_not_fail_the_event():
    made = publisher(FickleTopic(), observer=Broken())
    await made.publish(Submission(event("a")))
    assert (await made.publish(Submission(event("a")))).repeated
    assert (made.snapshot().published, made.snapshot().failed) == (1, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
async def test_an_event_that_json_cannot_hold_is_refused_and_its_camera_goes_on(bad: float):
    topic = FickleTopic()
    made = publisher(topic)
    with pytest.raises(DeliveryRefused, match="cam"):
        await made.publish(Submission(event("bad", box=(bad, 0.0, 1.0, 1.0)), 1, 1))
    await made.publish(Submission(event("good"), 1, 2))
    assert (made.snapshot().refused, made.snapshot().published, len(topic.handed_over)) == (1, 1, 1)


async def test_a_camera_that_was_idle_for_long_is_forgotten_and_others_are_not():
    clock = Clock()
    made = publisher(FickleTopic(), clock)
    await made.publish(Submission(event("a", "idle"), 5, 5))
    clock.now += CAMERA_IDLE_S - 1
    await made.publish(Submission(event("a", "busy"), 5, 5))
    clock.now += 2
    await made.publish(Submission(event("b", "idle"), 1, 1))
    with pytest.raises(OrderError):
        await made.publish(Submission(event("b", "busy"), 1, 1))
    assert made.snapshot().by_camera == {"idle": 1, "busy": 1}


async def test_memory_is_bounded_however_many_cameras_come():
    made = publisher(FickleTopic())
    for number in range(MAX_CAMERAS + 50):
        await made.publish(Submission(event("a", f"cam-{number}"), 1, 1))
    assert len(made.snapshot().by_camera) <= MAX_CAMERAS + 1


async def test_quantiles_are_those_of_capture_to_acknowledgement():
    clock = Clock()
    made = publisher(FickleTopic(), clock)
    assert made.snapshot().latency is None
    for number, age_ms in zip(itertools.count(), range(1, 101), strict=False):
        clock.now = 999.95 + age_ms / 1000
        await made.publish(Submission(event(str(number))))
    latency = made.snapshot().latency
    assert latency is not None
    assert (latency.count, round(latency.p50_ms), round(latency.p95_ms), round(latency.p99_ms)) == (100, 51, 95, 99)
