"""What the publisher can take: events a second of one shard and of several, side by side.

    python -m tests.benchmarks.publisher_ceiling [--shards 2] [--rounds 5] [--seconds 6] [--objects 6]
    python -m tests.benchmarks.publisher_ceiling --tracking [--rounds 5] [--seconds 6] [--objects 5]

With ``--tracking`` one shard that tracks takes turns with one that does not.

Each shard is a process of its own with its own spool and its own Kafka producer, as in the running system, without Ray;
all send to one embedded broker, which takes its share of the same machine. Each shard always has events of its own
cameras waiting, so that it works at its ceiling, and an event counts once Kafka acknowledged it. Rounds of one shard
and of several alternate, so that whatever else the machine does meets both; the number of cameras is the same in all.
Objects move at constant speed, and frames of a camera are 200 ms apart by their capture times. Printed: the median of
the rounds, their range, what the shards took of the processor, events a second of their processor time, and the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.publisher import EventPublisher, Shard, SpoolOptions, SpoolWriter, Submission, open_shard, shard_of, shards_of
from app.publisher.analysis import FrameAnalysis
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from app.settings.tracking import TrackingSettings
from tests.support.silent_observer import SilentObserver

CAMERAS = 64
BATCH = 64
"""Events of one call from the ingress at most, as in the service."""
WAITING = 8
"""Events of each camera that are under way or wait: of these one is on its way to Kafka."""
WARM_UP_S = 1.5
READY_S = 60.0
BEGAN_NS = time.time_ns()
INTERVAL_NS = 200_000_000


@dataclass(frozen=True)
class Way:
    """What is compared."""

    shards: int
    tracking: bool

    def __str__(self) -> str:
        return f"{self.shards} shard{'s' if self.shards > 1 else ''}{', tracking' if self.tracking else ''}"


@dataclass(frozen=True)
class Load:
    """What one process is to do."""

    shard: Shard
    broker: str
    folder: Path
    seconds: float
    objects: int
    """In each frame."""
    tracking: bool


@dataclass(frozen=True)
class Rate:
    """What came of one round."""

    events: float
    """Acknowledged by Kafka, a second."""
    cores: float
    """Processor seconds a second of the shards alone."""


class Acknowledged(SilentObserver):
    """An observer that counts."""

    def __init__(self) -> None:
        self.count = 0

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        self.count += 1


def event(camera_id: str, number: int, frame: int, objects: int) -> DetectionEvent:
    """Return the event of a camera's frame, in which each object has moved on by ten pixels."""
    place = frame % 60 * 10.0
    cars = tuple(DetectedObject("car", 2, 0.9, (place, 100.0 * lane, 80.0, 60.0)) for lane in range(objects))
    stages = StageLatencies(1, 1, 1, 1, 1)
    return DetectionEvent(camera_id, f"{number}", BEGAN_NS + frame * INTERVAL_NS, 1280, 720, "m.pt", cars, stages)


async def push(
    publisher: EventPublisher, heard: Acknowledged, cameras: Sequence[str], stop_at: float, objects: int
) -> None:
    """Keep so many events of each camera waiting that the way to Kafka never runs dry, and no more."""
    submitted, most = 0, WAITING * len(cameras)
    while time.perf_counter() < stop_at:
        if submitted - heard.count > most - BATCH:
            await asyncio.sleep(0.0005)
            continue
        numbers = range(submitted, submitted + BATCH)
        await asyncio.gather(
            *(
                publisher.publish(
                    Submission(
                        event(cameras[n % len(cameras)], n, n // len(cameras), objects), 1, 1 + n // len(cameras)
                    )
                )
                for n in numbers
            )
        )
        submitted += BATCH


async def work(load: Load, ready: Barrier) -> Rate:
    """Let a shard work at its ceiling."""
    settings = KafkaSettings(bootstrap_servers=(load.broker,), topic="bench", create_topic=True)

    async def find() -> tuple[str, ...]:
        return (load.broker,)

    sink, heard = KafkaSink(settings, find), Acknowledged()
    analysis = FrameAnalysis(TrackingSettings(enabled=load.tracking))
    spool = SpoolWriter(lambda: open_shard(SpoolOptions(load.folder), load.shard, analysis))
    publisher = EventPublisher(sink, spool, budget_ms=200, observer=heard)
    publisher.start()
    sink.start()
    while not sink.connected:
        await asyncio.sleep(0.01)
    await spool.ready(READY_S)
    cameras = [f"cam-{n}" for n in range(CAMERAS) if shard_of(f"cam-{n}", load.shard.count) == load.shard.number - 1]
    await asyncio.to_thread(ready.wait, READY_S)
    began = time.perf_counter()
    pushing = asyncio.create_task(push(publisher, heard, cameras, began + WARM_UP_S + load.seconds, load.objects))
    await asyncio.sleep(WARM_UP_S)
    first, at, used = heard.count, time.perf_counter(), time.process_time()
    await pushing
    took_s = time.perf_counter() - at
    rate = Rate((heard.count - first) / took_s, (time.process_time() - used) / took_s)
    await publisher.close()
    await sink.close(1.0)
    return rate


def run_shard(load: Load, ready: Barrier, rates: Queue[Rate]) -> None:
    """Be one shard's process."""
    rates.put(asyncio.run(work(load, ready)))


def measure(way: Way, broker: str, seconds: float, objects: int) -> Rate:
    """Let so many shards work together."""
    count = way.shards
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        ready, rates = context.Barrier(count), context.Queue()
        processes = [
            context.Process(
                target=run_shard, args=(Load(shard, broker, Path(place), seconds, objects, way.tracking), ready, rates)
            )
            for shard in shards_of(count)
        ]
        for process in processes:
            process.start()
        each = [rates.get(timeout=READY_S + WARM_UP_S + seconds) for _ in processes]
        for process in processes:
            process.join()
    return Rate(sum(one.events for one in each), sum(one.cores for one in each))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--objects", type=int, default=6)
    parser.add_argument("--tracking", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    other = Way(1, tracking=True) if given.tracking else Way(given.shards, tracking=False)
    rates: dict[Way, list[Rate]] = {Way(1, tracking=False): [], other: []}
    with EmbeddedBroker(port=None) as broker:
        for _ in range(given.rounds):
            for way, found in rates.items():
                found.append(measure(way, broker.address, given.seconds, given.objects))
    print(f"{given.objects} objects a frame, {os.cpu_count()} cores for shards and broker, {CAMERAS} cameras, "
          f"{given.rounds} alternating rounds of {given.seconds:g} s; events/s acknowledged by Kafka")  # fmt: skip
    for way, found in rates.items():
        events = [one.events for one in found]
        cores = statistics.median(one.cores for one in found)
        spread = f"from {min(events):.0f} to {max(events):.0f}"
        of_core = statistics.median(one.events / one.cores for one in found)
        print(f"{way}: median {statistics.median(events):6.0f}, {spread}; {cores:.2f} cores of their own, "
              f"{of_core:.0f} events a second of these")  # fmt: skip
    pairs = [many.events / one.events for one, many in zip(*rates.values(), strict=True)]
    print(f"ratio of each round: median {statistics.median(pairs):.2f}, from {min(pairs):.2f} to {max(pairs):.2f}")


if __name__ == "__main__":
    main()
