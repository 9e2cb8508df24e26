"""PublishedLoad: cameras whose events go through a publisher with its spool and sink; no Ray, one event loop.

It notes what was accepted and what was acknowledged. :meth:`PublishedLoad.judge` then reads the topic to its end, with
a client of another make, and counts what is missing, what is there twice, and what is out of order.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.publisher import EventPublisher, EventRecord, Spool, SpoolOptions, SpoolWriter, Submission
from app.publisher.kafka.sink import Acknowledgement, KafkaSink
from app.publisher.kafka.timeouts import Timeouts
from app.settings.connections import KafkaSettings
from tests.support.silent_observer import SilentObserver
from tests.support.topic import Record, TopicReader

CAMERAS = 4
FPS = 15.0


@dataclass(frozen=True)
class Row:
    """What a fault did, a row of the table."""

    fault: str
    accepted: int
    published: int
    """Of these, events that the topic has."""
    set_aside: int
    lost: int
    twice: int
    """Records whose event the topic had already; each of them says that it was replayed."""
    out_of_order: int
    """First occurrences behind a later event of their camera."""
    recovery_s: float | None = None
    """From the moment that the cluster took records again until it had all that was accepted before."""

    def __str__(self) -> str:
        recovery = "-" if self.recovery_s is None else f"{self.recovery_s:.1f}"
        counts = (self.accepted, self.published, self.set_aside, self.lost, self.twice, self.out_of_order)
        cells = [self.fault, *counts, recovery]
        return f"| {' | '.join(str(cell) for cell in cells)} |"


HEADER = (
    "| fault | accepted | published | set aside | lost | twice | out of order | all there after, s |",
    "|---|---|---|---|---|---|---|---|",
)


class _NotingSink:
    """Passes records on, and notes which events were acknowledged, and when."""

    def __init__(self, sink: KafkaSink) -> None:
        self._sink = sink
        self.acknowledged: dict[str, float] = {}
        """When, in monotonic seconds, by event id; the first time."""

    def send(self, record: EventRecord) -> asyncio.Future[Acknowledgement]:
        answer = self._sink.send(record)
        event_id = dict(record.headers)["ce_id"].decode()
        answer.add_done_callback(lambda done: self._note(event_id, done))
        return answer

    def _note(self, event_id: str, done: asyncio.Future[Acknowledgement]) -> None:
        if not done.cancelled() and done.exception() is None:
            self.acknowledged.setdefault(event_id, time.monotonic())


def make_event(camera: str, number: int, label: str = "car", age_s: float = 0.0) -> DetectionEvent:
    """Return an event of six objects; its frame is its number."""
    objects = tuple(DetectedObject(label, 2, 0.9, (1.0, 2.0, 3.0, 4.0)) for _ in range(6))
    captured_at_ns = time.time_ns() - int(age_s * 1e9)
    return DetectionEvent(
        camera, f"{number:06}", captured_at_ns, 640, 360, "m.pt", objects, StageLatencies(1, 1, 1, 1, 1)
    )


class PublishedLoad:
    """An asynchronous context manager: within it cameras send; :meth:`finish` ends them and awaits the last record."""

    def __init__(
        self,
        settings: KafkaSettings,
        folder: Path,
        *,
        cameras: int = CAMERAS,
        fps: float = FPS,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - it is frozen
    ) -> None:
        async def find() -> tuple[str, ...]:
            return settings.bootstrap_servers

        self._settings = settings
        self._fps = fps
        self.sink = KafkaSink(settings, find, timeouts)
        self._noting = _NotingSink(self.sink)
        writer = SpoolWriter(lambda: Spool(SpoolOptions(folder)))
        self.publisher = EventPublisher(self._noting, writer, budget_ms=200, observer=SilentObserver())
        self._cameras = [f"cam-{number}" for number in range(cameras)]
        self._next = dict.fromkeys(self._cameras, 1)
        self.accepted: dict[str, tuple[str, int]] = {}
        """Camera and frame number by event id."""
        self.troubles: dict[str, None] = {}
        """What the publisher named as its trouble, in order."""
        self._feeding: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> PublishedLoad:
        self.sink.start()
        async with asyncio.timeout(60):
            while not self.sink.connected:
                await asyncio.sleep(0.01)
        self.publisher.start()
        self._feeding = [asyncio.create_task(self._feed(camera)) for camera in self._cameras]
        self._feeding.append(asyncio.create_task(self._watch()))
        await self.more(5)
        self.troubles.clear()  # until here the spool was being opened
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()
        await self.publisher.close()
        await self.sink.close()

    async def submit(self, event: DetectionEvent) -> str:
        """Publish an event of a camera after those that it sent, and return its id."""
        number = self._next[event.camera_id]
        self._next[event.camera_id] += 1
        event = replace(event, frame_id=f"{number:06}")
        receipt = await self.publisher.publish(Submission(event, 1, number))
        self.accepted[receipt.event_id] = (event.camera_id, number)
        return receipt.event_id

    async def more(self, each: int) -> None:
        """Wait until so many more events of each camera are accepted."""
        goal = {camera: number + each for camera, number in self._next.items()}
        async with asyncio.timeout(60):
            while any(self._next[camera] < number for camera, number in goal.items()):
                await asyncio.sleep(0.01)

    async def all_there(self, timeout_s: float = 60.0) -> float:
        """Wait until Kafka has, or refuses, all that is accepted by now; return the seconds that it took."""
        began = time.monotonic()
        missing = self.accepted.keys() - self._noting.acknowledged.keys()
        async with asyncio.timeout(timeout_s):
            while len(missing) > self.publisher.snapshot().quarantined:
                missing -= self._noting.acknowledged.keys()
                await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def until_trouble(self, part: str, timeout_s: float = 30.0) -> None:
        """Wait until the publisher names a trouble with these words in it."""
        async with asyncio.timeout(timeout_s):
            while not any(part in trouble for trouble in self.troubles):
                await asyncio.sleep(0.02)

    async def finish(self) -> None:
        """Have the cameras end, and wait until nothing waits for Kafka."""
        await self._stop()
        await self.all_there()

    async def judge(
        self, fault: str, bootstrap: Sequence[str], recovery_s: float | None = None, since: float = 0.0
    ) -> Row:
        """Return what became of the events; of those acknowledged before ``since`` (monotonic) nothing is asked."""
        reader = TopicReader(",".join(bootstrap), self._settings.topic)
        try:
            records = await asyncio.to_thread(reader.read_all)
        finally:
            reader.close()
        seen = {record.value["event_id"] for record in records}
        unmarked = _repeats(records, marked=False)
        assert not unmarked, f"{len(unmarked)} records are there twice, and do not say that they were replayed"
        asked = {one for one in self.accepted if self._noting.acknowledged.get(one, since) >= since}
        set_aside = self.publisher.snapshot().quarantined
        return Row(
            fault=fault,
            accepted=len(asked),
            published=len(asked & seen),
            set_aside=set_aside,
            lost=len(asked - seen) - set_aside,
            twice=len(_repeats(records)),
            out_of_order=_out_of_order(records),
            recovery_s=recovery_s,
        )

    async def _feed(self, camera: str) -> None:
        due = time.monotonic()
        while True:
            await self.submit(make_event(camera, 0))
            due += 1 / self._fps
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _watch(self) -> None:
        while True:
            trouble = self.publisher.snapshot().trouble
            if trouble:
                self.troubles[trouble] = None
            await asyncio.sleep(0.02)

    async def _stop(self) -> None:
        feeding, self._feeding = self._feeding, []
        for task in feeding:
            task.cancel()
        outcomes = await asyncio.gather(*feeding, return_exceptions=True)
        # An event whose camera was stopped while it was being committed may be accepted: it is not counted then.
        failed = [one for one in outcomes if isinstance(one, Exception)]
        if failed:
            raise failed[0]


def _repeats(records: Sequence[Record], marked: bool | None = None) -> list[Record]:
    """Return the records whose event came before; with ``marked`` those only that say so, or do not."""
    known: set[str] = set()
    found = []
    for record in records:
        event_id = record.value["event_id"]
        if event_id in known and (marked is None or record.value["replayed"] is marked):
            found.append(record)
        known.add(event_id)
    return found


def _out_of_order(records: Sequence[Record]) -> int:
    """Count first occurrences behind a later frame of their camera.

    Where the topic got more partitions a camera may be in several: there the times decide by which the brokers wrote
    them, which the topic has to be set to keep (``message.timestamp.type=LogAppendTime``).
    """
    cameras: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        cameras[record.key].append(record)
    late = 0
    for its in cameras.values():
        if len({record.partition for record in its}) > 1:
            its.sort(key=lambda record: record.timestamp_ms)  # it keeps the order within a partition
        latest, known = 0, set()
        for frame in (int(record.value["frame_id"]) for record in its):
            late += frame not in known and frame < latest
            known.add(frame)
            latest = max(latest, frame)
    return late
