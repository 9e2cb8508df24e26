"""What distance costs between the publisher and Apache Kafka: the rate of a backlog, and the delay at rest.

    python -m tests.benchmarks.far_kafka [--rounds 3]

One broker of Apache Kafka in KRaft mode on this machine (see tests/support/apache_kafka.py), reached through a proxy
that delays every byte each way. Run it on two commits to compare them. Printed, as medians of the rounds with range:

- backlog: 5,000 events of one camera wait in the spool; a publisher starts, and is timed until Kafka has all of them;
- at rest: 2 cameras at 10 FPS for 12 s; the 95th percentiles of capture to commit, and of capture to acknowledgement,
  and their difference; processor time of the process an event;
- many: 8 cameras' backlog at no distance.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.core.quantiles import quantiles
from app.publisher import EventPublisher, Spool, SpoolOptions, SpoolWriter, Submission
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka, Listener
from tests.support.delaying_proxy import DelayingProxy


class Latencies:
    """An observer that keeps the seconds from capture to acknowledgement."""

    def __init__(self) -> None:
        self.totals: list[float] = []

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        self.totals.append(total_s)

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        pass


def event(camera: int, number: int) -> DetectionEvent:
    objects = tuple(DetectedObject("car", 2, 0.9, (1.0, 2.0, 3.0, 4.0)) for _ in range(6))
    stages = StageLatencies(1, 1, 1, 1, 1)
    return DetectionEvent(f"cam-{camera}", f"{number}", time.time_ns(), 640, 360, "m.pt", objects, stages)


async def fill(folder: Path, cameras: int, each: int) -> None:
    """Have events of each camera wait in a spool."""

    class Away:
        async def send(self, record: object) -> object:
            await asyncio.Event().wait()
            return None

    publisher = EventPublisher(
        Away(), SpoolWriter(lambda: Spool(SpoolOptions(folder))), budget_ms=200, observer=Latencies()
    )
    publisher.start()
    for number in range(0, each, 100):
        submissions = [
            Submission(event(camera, n), 1, n + 1) for n in range(number, number + 100) for camera in range(cameras)
        ]
        await asyncio.gather(*(publisher.publish(one) for one in submissions))
    await publisher.close()


async def started(folder: Path, settings: KafkaSettings) -> tuple[EventPublisher, KafkaSink, Latencies]:
    async def find() -> tuple[str, ...]:
        return settings.bootstrap_servers

    sink, seen = KafkaSink(settings, find), Latencies()
    publisher = EventPublisher(sink, SpoolWriter(lambda: Spool(SpoolOptions(folder))), budget_ms=200, observer=seen)
    sink.start()
    while not sink.connected:
        await asyncio.sleep(0.01)
    return publisher, sink, seen


async def drain(settings: KafkaSettings, cameras: int, each: int, most_s: float = 25.0) -> float:
    """Return the events a second at which a backlog is drained; measured for at most so long."""
    with tempfile.TemporaryDirectory() as place:
        await fill(Path(place), cameras, each)
        publisher, sink, seen = await started(Path(place), settings)
        began = time.perf_counter()
        publisher.start()
        while len(seen.totals) < cameras * each and time.perf_counter() - began < most_s:
            await asyncio.sleep(0.01)
        rate = len(seen.totals) / (time.perf_counter() - began)
        await publisher.close()
        await sink.close()
    return rate


async def rest(
    settings: KafkaSettings, cameras: int = 2, fps: float = 10.0, seconds: float = 12.0
) -> tuple[float, float, float]:
    """Return the 95th percentiles of capture to commit and to acknowledgement, in ms, and processor ms an event."""
    with tempfile.TemporaryDirectory() as place:
        publisher, sink, seen = await started(Path(place), settings)
        publisher.start()
        commits: list[float] = []

        async def feed(camera: int) -> None:
            begins = asyncio.get_running_loop().time() + camera * 0.37 / fps
            for number in range(int(fps * seconds)):
                await asyncio.sleep(max(0.0, begins + number / fps - asyncio.get_running_loop().time()))
                captured = time.perf_counter()
                await publisher.publish(Submission(event(camera, number), 1, number + 1))
                commits.append(time.perf_counter() - captured)

        used = time.process_time()
        await asyncio.gather(*(feed(camera) for camera in range(cameras)))
        while len(seen.totals) < cameras * int(fps * seconds):
            await asyncio.sleep(0.01)
        used = time.process_time() - used
        await publisher.close()
        await sink.close()
    commit, whole = quantiles(commits), quantiles(seen.totals)
    assert commit is not None
    assert whole is not None
    return commit.p95 * 1000, whole.p95 * 1000, used * 1000 / len(seen.totals)


def shown(values: list[float], unit: str) -> str:
    return f"median {statistics.median(values):,.1f} {unit} (from {min(values):,.1f} to {max(values):,.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = range(parser.parse_args().rounds)
    far, near = Listener("FAR", "PLAINTEXT"), Listener("NEAR", "PLAINTEXT")
    with (
        tempfile.TemporaryDirectory() as place,
        DelayingProxy(0.0) as proxy,
        ApacheKafka(Path(place) / "cluster", listeners=[far, near], advertised={(1, "FAR"): proxy.address}) as kafka,
    ):
        proxy.target = kafka.brokers[0].port("FAR")

        def on(address: str, topic: str) -> KafkaSettings:
            kafka.create_topic(topic, partitions=8)
            return KafkaSettings(bootstrap_servers=(address,), topic=topic)

        def each_round(what: str, delay_s: float, measure: Callable[[KafkaSettings], object]) -> list[object]:
            proxy.delay_s = delay_s
            return [asyncio.run(measure(on(proxy.address, f"{what}-{number}"))) for number in rounds]

        backlog = each_round("backlog", 0.025, lambda settings: drain(settings, 1, 5_000))
        print("one camera's backlog of 5,000 at a round trip of 50 ms:", shown(backlog, "events/s"), flush=True)
        resting = each_round("rest", 0.04, rest)
        print(
            "round trip 80 ms, 2 cameras at 10 FPS, p95 capture to commit:",
            shown([one[0] for one in resting], "ms"),
        )
        print("  p95 capture to acknowledgement:", shown([one[1] for one in resting], "ms"))
        print("  difference:", shown([one[1] - one[0] for one in resting], "ms"), flush=True)
        proxy.delay_s = 0.0
        resting = [asyncio.run(rest(on(kafka.brokers[0].address("NEAR"), f"near-{number}"))) for number in rounds]
        print(
            "no distance, processor time of the process:",
            shown([one[2] for one in resting], "ms an event"),
            flush=True,
        )
        many = [
            asyncio.run(drain(on(kafka.brokers[0].address("NEAR"), f"many-{number}"), 8, 3_000)) for number in rounds
        ]
        print("8 cameras' backlog of 24,000 at no distance:", shown(many, "events/s"), flush=True)


if __name__ == "__main__":
    main()
