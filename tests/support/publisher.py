"""A publisher with a real spool, a topic that obeys the test, and clocks that stand still until they are moved."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher import (
    EventPublisher,
    EventRecord,
    PublisherSnapshot,
    Receipt,
    Spool,
    SpoolOptions,
    SpoolWriter,
    Submission,
)
from app.publisher.spool.analysis import Analysis, Judged
from app.publisher.spool.codec import dump
from app.publisher.spool.evidence import SpoolEvidence
from app.publisher.spool.incidents import Transition
from app.publisher.spool.rows import Arrival
from tests.support.silent_observer import SilentObserver
from tests.support.waiting import until

SECOND = 1_000_000_000
BOX = (1.0, 2.0, 3.0, 4.0)


class Topic:
    """A sink that keeps what it is sent, and answers when and as it is let."""

    def __init__(self) -> None:
        self.records: list[EventRecord] = []
        self.tries = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, record: EventRecord) -> object:
        self.tries += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.records.append(record)
        return None

    @property
    def frames(self) -> list[str]:
        """The frames that it has, in its order."""
        return [record.value.split(b'"frame_id":"')[1].split(b'"')[0].decode() for record in self.records]


class FickleTopic(Topic):
    """A sink that takes its time by chance, fails by chance, and refuses some events for good.

    As the real one it writes a camera's events in the order in which they were sent, and after a failure none
    until it has connected again.
    """

    def __init__(self, seed: int, failing: float) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._failing = failing
        self._last: dict[bytes, asyncio.Future[bool]] = {}

    async def send(self, record: EventRecord) -> object:
        loop = asyncio.get_running_loop()
        before = self._last.get(record.key)
        written = self._last[record.key] = loop.create_future()
        try:
            if before is not None and not await before:
                raise DeliveryUnavailable("an earlier one failed")
            for _ in range(self._random.randrange(4)):
                await asyncio.sleep(0)
            self._take(record)
        except DeliveryUnavailable:
            written.set_result(False)
            loop.call_later(0.01, self._reconnect, record.key, written)
            raise
        finally:
            if not written.done():
                written.set_result(True)
        return None

    def _reconnect(self, key: bytes, failed: asyncio.Future[bool]) -> None:
        if self._last.get(key) is failed:
            del self._last[key]

    def _take(self, record: EventRecord) -> None:
        if self._random.random() < self._failing:
            written = self._random.random() < 0.3
            if written:  # but its acknowledgement is lost
                self.records.append(record)
            raise DeliveryUnavailable("by chance")
        if b"poison" in record.value:
            raise DeliveryRefused("by nature")
        self.records.append(record)


class RecordingObserver(SilentObserver):
    """An observer that remembers."""

    def __init__(self) -> None:
        self.breaches: list[bool] = []
        self.transitions: list[Transition] = []
        self.waiting: dict[str, int] = {}

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        self.breaches.append(breach)

    def outbox(self, channel: str, waiting: int) -> None:
        self.waiting[channel] = waiting

    def judged(self, camera_id: str, judged: Judged) -> None:
        self.transitions += judged.transitions


class Time:
    """Clocks that stand still until they are moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.ahead_s = 0.0
        """By how much the wall clock is ahead."""

    def wall_ns(self) -> int:
        return int((self.seconds + self.ahead_s) * SECOND)

    def monotonic(self) -> float:
        return self.seconds


class PublisherFixture:
    """A publisher with all it needs, within reach."""

    def __init__(
        self,
        options: SpoolOptions,
        topic: Topic,
        off: bool,
        time: Time,
        observer: Any,
        analysis: Analysis | None,
        evidence: SpoolEvidence | None = None,
        **how: Any,
    ) -> None:
        self.topic, self.time, self.observer = topic, time, observer
        self.writer = SpoolWriter(lambda: Spool(options, analysis, evidence))
        self.publisher = EventPublisher(
            None if off else topic,
            self.writer,
            budget_ms=200,
            observer=observer,
            wall_ns=time.wall_ns,
            monotonic=time.monotonic,
            **how,
        )
        self.publisher.start()

    async def publish(
        self, frame: str, epoch: int = 0, sequence: int = 0, camera: str = "cam", due_s: float | None = None, **how: Any
    ) -> Receipt:
        """Submit an event; ``due_s``: seconds from now until it should be at Kafka."""
        due_at_ns = None if due_s is None else self.time.wall_ns() + int(due_s * SECOND)
        return await self.publisher.publish(Submission(event(frame, camera, **how), epoch, sequence, due_at_ns))

    @property
    def now(self) -> PublisherSnapshot:
        return self.publisher.snapshot()

    async def until(self, condition: Callable[[PublisherSnapshot], bool]) -> PublisherSnapshot:
        """Wait until the accounts are as wanted."""
        await until(lambda: condition(self.now))
        return self.now


@asynccontextmanager
async def running_publisher(
    folder: Path,
    topic: Topic | None = None,
    *,
    off: bool = False,
    time: Time | None = None,
    observer: Any = None,
    max_bytes: int = 1 << 30,
    analysis: Analysis | None = None,
    evidence: SpoolEvidence | None = None,
    **how: Any,
) -> AsyncIterator[PublisherFixture]:
    """Set a publisher up, and close it; the spool in ``folder`` stays for the next one."""
    made = PublisherFixture(
        SpoolOptions(folder, max_bytes),
        topic or Topic(),
        off,
        time or Time(),
        observer or RecordingObserver(),
        analysis,
        evidence,
        **how,
    )
    try:
        yield made
    finally:
        await made.publisher.close()


def event(
    frame: str,
    camera: str = "cam",
    empty: bool = False,
    age_s: float = 0.05,
    box: tuple[float, float, float, float] = BOX,
) -> DetectionEvent:
    return DetectionEvent(
        camera_id=camera,
        frame_id=frame,
        captured_at_ns=int((1000.0 - age_s) * SECOND),
        width=640,
        height=360,
        model="m.pt",
        objects=() if empty else (DetectedObject("car", 2, 0.9, box),),
        latency=StageLatencies(1, 1, 1, 1, 1),
    )


NOW = 1_000_000_000_000


def arrival(name: str, camera: str = "cam", sequence: int = 0, body: bytes = b"") -> Arrival:
    return Arrival(name, camera, int(sequence > 0), sequence, body or dump(event(name, camera)), NOW)
