"""The publisher: once each, in each camera's order, every event accounted for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.errors import DeliveryRefused, DeliveryUnavailable, EpochSuperseded, FrameRepeated
from app.events import DetectionEvent, EventPublisher, EventRecord, SeenObject, StageLatencies, Submission
from app.events.publisher import MAX_IN_FLIGHT, REPEAT_WINDOW_S

SECOND = 1_000_000_000


class Topic:
    """A sink that keeps what it is sent, and answers when it is let."""

    def __init__(self) -> None:
        self.records: list[EventRecord] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, record: EventRecord) -> object:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.records.append(record)
        return None


class Told:
    def __init__(self) -> None:
        self.breaches: list[bool] = []

    def published(self, camera_id: str, total_s: float, publish_s: float, breach: bool) -> None:
        self.breaches.append(breach)


class Time:
    """Clocks that stand still until they are moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def wall_ns(self) -> int:
        return int(self.seconds * SECOND)

    def monotonic(self) -> float:
        return self.seconds


class Desk:
    """A publisher with all it needs, within reach."""

    def __init__(self, **how: Any) -> None:
        self.topic, self.told, self.time = Topic(), Told(), Time()
        sink = how.pop("sink", self.topic)
        self.publisher = EventPublisher(
            sink,
            budget_ms=200,
            observer=self.told,
            wall_ns=self.time.wall_ns,
            monotonic=self.time.monotonic,
            **how,
        )

    async def publish(self, frame: str, epoch: int = 0, sequence: int = 0, camera: str = "cam", **how: Any):
        return await self.publisher.publish(Submission(self.event(frame, camera, **how), epoch, sequence))

    def event(self, frame: str, camera: str = "cam", empty: bool = False, age_s: float = 0.05) -> DetectionEvent:
        return DetectionEvent(
            camera_id=camera,
            frame_id=frame,
            captured_at_ns=int((1000.0 - age_s) * SECOND),
            width=640,
            height=360,
            model="m.pt",
            objects=() if empty else (SeenObject("car", 2, 0.9, (1.0, 2.0, 3.0, 4.0)),),
            latency=StageLatencies(1, 1, 1, 1, 1),
        )


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_an_event_is_published_once_and_accounted_for():
    desk = Desk()
    receipt = await desk.publish("a", 1, 1)
    assert receipt.event_id == desk.event("a").event_id
    snapshot = desk.publisher.snapshot()
    assert (snapshot.accepted, snapshot.published, snapshot.in_flight) == (1, 1, 0)
    assert snapshot.by_camera == {"cam": 1}
    assert snapshot.latency is not None
    assert snapshot.latency.p50_ms == pytest.approx(50)


async def test_a_repeated_frame_is_answered_and_not_published_again():
    desk = Desk()
    await desk.publish("a", 1, 1)
    again = await desk.publish("a", 1, 1)
    assert again.repeated
    assert len(desk.topic.records) == 1


async def test_a_repeat_while_the_first_is_under_way_shares_its_fate():
    desk = Desk()
    desk.topic.gate.clear()
    both = [asyncio.create_task(desk.publish("a", 1, 1)) for _ in range(2)]
    await until(lambda: desk.publisher.snapshot().in_flight == 1)
    desk.topic.gate.set()
    first, second = await asyncio.gather(*both)
    assert first == second
    assert len(desk.topic.records) == 1


async def test_an_id_is_forgotten_after_ten_minutes():
    desk = Desk()
    await desk.publish("a")
    desk.time.seconds += REPEAT_WINDOW_S + 1
    await desk.publish("a")
    assert len(desk.topic.records) == 2


async def test_a_sequence_at_or_below_a_committed_one_is_refused():
    desk = Desk()
    await desk.publish("a", 1, 5)
    for late in (4, 5):
        with pytest.raises(FrameRepeated):
            await desk.publish(f"late-{late}", 1, late)
    assert desk.publisher.snapshot().out_of_order == 2


async def test_a_frame_of_an_older_epoch_is_refused_and_a_newer_epoch_starts_anew():
    desk = Desk()
    await desk.publish("a", 7, 5)
    await desk.publish("b", 8, 1)
    with pytest.raises(EpochSuperseded):
        await desk.publish("c", 7, 6)


async def test_no_order_is_asked_of_a_client_that_gives_none():
    desk = Desk()
    await desk.publish("a", 1, 5)
    await desk.publish("b")
    assert len(desk.topic.records) == 2


async def test_one_camera_s_order_is_nothing_to_another():
    desk = Desk()
    await desk.publish("a", 9, 9)
    await desk.publish("a", 1, 1, camera="other")
    assert desk.publisher.snapshot().by_camera == {"cam": 1, "other": 1}


async def test_an_earlier_frame_cannot_overtake_a_later_one_that_is_under_way():
    desk = Desk()
    desk.topic.gate.clear()
    later = asyncio.create_task(desk.publish("later", 1, 2))
    await until(lambda: desk.publisher.snapshot().in_flight == 1)
    with pytest.raises(FrameRepeated):
        await desk.publish("earlier", 1, 1)
    desk.topic.gate.set()
    await later


async def test_a_failed_delivery_gives_its_turn_back_so_the_same_frame_may_be_tried_again():
    desk = Desk()
    desk.topic.error = DeliveryUnavailable("away")
    with pytest.raises(DeliveryUnavailable):
        await desk.publish("a", 1, 1)
    desk.topic.error = None
    await desk.publish("a", 1, 1)
    snapshot = desk.publisher.snapshot()
    assert (snapshot.failed, snapshot.published) == (1, 1)


async def test_a_refused_event_is_counted_and_does_not_block_its_camera():
    desk = Desk()
    desk.topic.error = DeliveryRefused("too large")
    with pytest.raises(DeliveryRefused):
        await desk.publish("a", 1, 1)
    desk.topic.error = None
    await desk.publish("b", 1, 2)
    assert desk.publisher.snapshot().refused == 1


async def test_an_event_is_carried_through_when_its_caller_goes_away():
    desk = Desk()
    desk.topic.gate.clear()
    caller = asyncio.create_task(desk.publish("a", 1, 1))
    await until(lambda: desk.publisher.snapshot().in_flight == 1)
    caller.cancel()
    await asyncio.wait([caller])
    desk.topic.gate.set()
    await until(lambda: desk.publisher.snapshot().published == 1)


async def test_with_kafka_off_events_are_accepted_and_discarded():
    desk = Desk(sink=None)
    await desk.publish("a", 1, 1)
    snapshot = desk.publisher.snapshot()
    assert (snapshot.accepted, snapshot.published, snapshot.discarded) == (1, 0, 1)


async def test_empty_frames_are_published_unless_that_is_turned_off():
    desk = Desk()
    await desk.publish("a", empty=True)
    quiet = Desk(publish_empty=False)
    await quiet.publish("a", empty=True)
    await quiet.publish("b")
    assert desk.publisher.snapshot().published == 1
    assert (quiet.publisher.snapshot().published, quiet.publisher.snapshot().discarded) == (1, 1)


async def test_an_event_acknowledged_later_than_the_budget_is_a_breach():
    desk = Desk()
    await desk.publish("quick", age_s=0.1)
    await desk.publish("slow", age_s=0.3)
    assert desk.told.breaches == [False, True]
    assert desk.publisher.snapshot().breaches == 1


async def test_what_waits_for_kafka_is_bounded():
    desk = Desk()
    desk.topic.gate.clear()
    waiting = [asyncio.create_task(desk.publish(str(number))) for number in range(MAX_IN_FLIGHT)]
    await until(lambda: desk.publisher.snapshot().in_flight == MAX_IN_FLIGHT)
    with pytest.raises(DeliveryUnavailable):
        await desk.publish("one more")
    desk.topic.gate.set()
    await asyncio.gather(*waiting)
