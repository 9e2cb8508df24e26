"""What distance costs between the publisher and Apache Kafka: the rate of a backlog, the delay at rest, and a cut.

    python -m tests.benchmarks.far_kafka [--rounds 3] [--only backlog rest cut near many]

One broker of Apache Kafka in KRaft mode on this machine (see tests/support/apache_kafka.py), reached through a proxy
that delays every byte each way. Run it on two commits to compare them: with a folder that holds links to the ``app`` of
the one and the ``tests`` of the other as the current one. Printed, as medians of the rounds with range:

- backlog: 5,000 events of one camera wait in the spool; a publisher starts, and is timed until Kafka has all of them;
- rest: 2 cameras at 10 FPS for 12 s, 80 ms away; the 95th percentiles of capture to commit, and of capture to
  acknowledgement, and their difference;
- cut: the same for 50 s, of which the connection is cut for 30; from its end until all that was accepted by then is
  there;
- near: the same as rest at no distance: processor time of the process an event;
- many: 8 cameras' backlog of 100,000 events at no distance, and processor time of the process an event.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.core.quantiles import quantiles
from app.publisher import EventPublisher, Spool, SpoolOptions, SpoolWriter, Submission
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka
from tests.support.delaying_proxy import DelayingProxy
from tests.support.kafka_broker import Listener
from tests.support.silent_observer import SilentObserver

T = TypeVar("T")


class Latencies(SilentObserver):
    """An observer that keeps the seconds from capture to acknowledgement."""

    def __init__(self) -> None:
        self.totals: list[float] = []

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        self.totals.append(total_s)


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


async def drain(settings: KafkaSettings, cameras: int, each: int, most_s: float = 60.0) -> tuple[float, float]:
    """Return the events a second at which a backlog is drained, and processor ms an event; for at most so long."""
    with tempfile.TemporaryDirectory() as place:
        await fill(Path(place), cameras, each)
        publisher, sink, seen = await started(Path(place), settings)
        began, used = time.perf_counter(), time.process_time()
        publisher.start()
        while len(seen.totals) < cameras * each and time.perf_counter() - began < most_s:
            await asyncio.sleep(0.01)
        rate = len(seen.totals) / (time.perf_counter() - began)
        cost_ms = (time.process_time() - used) * 1000 / len(seen.totals)
        await publisher.close()
        await sink.close()
    return rate, cost_ms


async def feed(publisher: EventPublisher, camera: int, fps: float, count: int, commits: list[float]) -> None:
    """Publish so many events of a camera at a rate; the seconds from capture to commit go into ``commits``."""
    begins = asyncio.get_running_loop().time() + camera * 0.37 / fps
    for number in range(count):
        await asyncio.sleep(max(0.0, begins + number / fps - asyncio.get_running_loop().time()))
        captured = time.perf_counter()
        await publisher.publish(Submission(event(camera, number), 1, number + 1))
        commits.append(time.perf_counter() - captured)


async def cut(
    settings: KafkaSettings, proxy: DelayingProxy, seconds: float, cameras: int = 2, fps: float = 10
) -> float:
    """Return how long after a cut of so many seconds all is there that was accepted by its end, in seconds."""
    with tempfile.TemporaryDirectory() as place:
        publisher, sink, seen = await started(Path(place), settings)
        publisher.start()
        commits: list[float] = []
        count = int(fps * (seconds + 20))
        feeding = [asyncio.create_task(feed(publisher, camera, fps, count, commits)) for camera in range(cameras)]
        await asyncio.sleep(5)
        proxy.cut()
        await asyncio.sleep(seconds)
        proxy.mend()
        mended, accepted = time.perf_counter(), len(commits)
        while len(seen.totals) < accepted and time.perf_counter() - mended < 300:
            await asyncio.sleep(0.01)
        took = time.perf_counter() - mended
        await asyncio.gather(*feeding)
        await publisher.close()
        await sink.close()
    return took


async def rest(
    settings: KafkaSettings, cameras: int = 2, fps: float = 10.0, seconds: float = 12.0
) -> tuple[float, float, float]:
    """Return the 95th percentiles of capture to commit and to acknowledgement, in ms, and processor ms an event."""
    with tempfile.TemporaryDirectory() as place:
        publisher, sink, seen = await started(Path(place), settings)
        publisher.start()
        commits: list[float] = []

        used = time.process_time()
        count = int(fps * seconds)
        await asyncio.gather(*(feed(publisher, camera, fps, count, commits) for camera in range(cameras)))
        while len(seen.totals) < cameras * count:
            await asyncio.sleep(0.01)
        used = time.process_time() - used
        await publisher.close()
        await sink.close()
    commit, whole = quantiles(commits), quantiles(seen.totals)
    assert commit is not None
    assert whole is not None
    return commit.p95 * 1000, whole.p95 * 1000, used * 1000 / len(seen.totals)


def shown(values: list[float], unit: str) -> str:
    return f"median {statistics.median(values):,.2f} {unit} (from {min(values):,.2f} to {max(values):,.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=["backlog", "rest", "cut", "near", "many"])
    parser.add_argument("--each", type=int, default=12_500, help="events of each of the many cameras")
    parser.add_argument("--cut", type=float, default=30.0, help="seconds")
    given = parser.parse_args()
    far, near = Listener("FAR", "PLAINTEXT"), Listener("NEAR", "PLAINTEXT")
    with (
        tempfile.TemporaryDirectory() as place,
        DelayingProxy(0.0) as proxy,
        ApacheKafka(Path(place) / "cluster", listeners=[far, near], advertised={(1, "FAR"): proxy.address}) as kafka,
    ):
        proxy.target = kafka.brokers[0].port("FAR")
        there, here = proxy.address, kafka.brokers[0].address("NEAR")

        def rounds(what: str, address: str, measure: Callable[[KafkaSettings], Coroutine[Any, Any, T]]) -> list[T]:
            found = []
            for number in range(given.rounds):
                topic = f"{what}-{number}"
                kafka.create_topic(topic, partitions=8)
                found.append(asyncio.run(measure(KafkaSettings(bootstrap_servers=(address,), topic=topic))))
            return found

        if "backlog" in given.only:
            proxy.delay_s = 0.025
            drained = rounds("backlog", there, lambda settings: drain(settings, 1, 5_000))
            print(
                "one camera's backlog of 5,000 at a round trip of 50 ms:",
                shown([rate for rate, _ in drained], "events/s"),
                flush=True,
            )
        proxy.delay_s = 0.04
        if "rest" in given.only:
            resting = rounds("rest", there, rest)
            print(
                "round trip 80 ms, 2 cameras at 10 FPS, p95 capture to commit:",
                shown([one[0] for one in resting], "ms"),
            )
            print("  p95 capture to acknowledgement:", shown([one[1] for one in resting], "ms"))
            print("  difference:", shown([one[1] - one[0] for one in resting], "ms"), flush=True)
        if "cut" in given.only:
            cuts = rounds("cut", there, lambda settings: cut(settings, proxy, given.cut))
            print(f"the same, cut for {given.cut:g} s: all there after", shown(cuts, "s"), flush=True)
        if "near" in given.only:
            resting = rounds("near", here, rest)
            print(
                "no distance, processor time of the process:",
                shown([one[2] for one in resting], "ms an event"),
                flush=True,
            )
        if "many" in given.only:
            drained = rounds("many", here, lambda settings: drain(settings, 8, given.each))
            print(
                f"8 cameras' backlog of {8 * given.each:,} at no distance:",
                shown([rate for rate, _ in drained], "events/s"),
            )
            print("  processor time of the process:", shown([cost for _, cost in drained], "ms an event"), flush=True)


if __name__ == "__main__":
    main()
