"""What the spool costs: submit → acknowledgement by Kafka, through the spool and straight, side by side.

    python tests/benchmarks/spool_cost.py [--rounds 6] [--rate 50] [--seconds 4]

Both ways use the same sink settings, the same embedded broker and the same events at an even rate; rounds alternate, so
that whatever else the machine does meets both. Printed are the medians over the rounds of each round's quantiles.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.publisher import EventPublisher, Spool, SpoolOptions, SpoolWriter, Submission, make_record
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.silent_observer import SilentObserver

CAMERAS = 10


@dataclass(frozen=True)
class Round:
    """One round's quantiles, in milliseconds."""

    answer_p50: float
    ack_p50: float
    ack_p95: float
    ack_p99: float


class Acknowledgements(SilentObserver):
    """An observer that lets each event's acknowledgement be awaited by its place in time."""

    def __init__(self) -> None:
        self.totals_s: list[float] = []

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        self.totals_s.append(total_s)


def event(number: int) -> DetectionEvent:
    objects = tuple(DetectedObject("car", 2, 0.9, (1.0, 2.0, 3.0, 4.0)) for _ in range(6))
    stages = StageLatencies(1, 1, 1, 1, 1)
    return DetectionEvent(f"cam-{number % CAMERAS}", f"{number}", time.time_ns(), 640, 360, "m.pt", objects, stages)


async def paced(count: int, rate: float, send: Callable[[int], Awaitable[float]]) -> list[float]:
    """Start ``count`` sends at an even rate; return what each returned."""
    start, tasks = time.perf_counter(), []
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(send(number)))
    return list(await asyncio.gather(*tasks))


def quantile(values_s: list[float], share: float) -> float:
    ordered = sorted(values_s)
    return 1000 * ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def summary(answers_s: list[float], acks_s: list[float]) -> Round:
    return Round(quantile(answers_s, 0.5), *(quantile(acks_s, share) for share in (0.5, 0.95, 0.99)))


async def straight(sink: KafkaSink, first: int, count: int, rate: float) -> Round:
    async def send(number: int) -> float:
        made = event(first + number)
        await sink.send(make_record(made, total_ms=1.0))
        return (time.time_ns() - made.captured_at_ns) / 1e9

    acks = await paced(count, rate, send)
    return summary(acks, acks)


async def spooled(publisher: EventPublisher, heard: Acknowledgements, first: int, count: int, rate: float) -> Round:
    async def send(number: int) -> float:
        made = event(first + number)
        await publisher.publish(Submission(made, 1, first + number + 1))
        return (time.time_ns() - made.captured_at_ns) / 1e9

    heard.totals_s.clear()
    answers = await paced(count, rate, send)
    while len(heard.totals_s) < count:
        await asyncio.sleep(0.005)
    return summary(answers, list(heard.totals_s))


async def measure(rounds: int, rate: float, seconds: float, folder: Path) -> None:
    with EmbeddedBroker(port=None) as broker:
        settings = KafkaSettings(bootstrap_servers=(broker.address,), topic="bench", create_topic=True)

        async def find() -> tuple[str, ...]:
            return (broker.address,)

        sinks = [KafkaSink(settings, find) for _ in range(2)]
        heard = Acknowledgements()
        spool = SpoolWriter(lambda: Spool(SpoolOptions(folder)))
        publisher = EventPublisher(sinks[1], spool, budget_ms=200, observer=heard)
        publisher.start()
        for sink in sinks:
            sink.start()
            while not sink.connected:
                await asyncio.sleep(0.01)
        await spool.ready(30)
        count, ways = int(rate * seconds), ([], [])
        for number in range(rounds + 1):  # the first warms up
            first = number * count
            one = await straight(sinks[0], first, count, rate)
            other = await spooled(publisher, heard, first, count, rate)
            if number:
                ways[0].append(one)
                ways[1].append(other)
        await publisher.close()
        for sink in sinks:
            await sink.close(1.0)
    report(*ways, rate=rate, count=count)


def report(without: list[Round], with_spool: list[Round], *, rate: float, count: int) -> None:
    print(f"{rate:g} events/s, {count} events a round, medians of {len(without)} alternating rounds, milliseconds")
    print(f"{'':<28}{'straight':>10}{'spool':>10}{'added':>10}{'ratio':>8}")
    for name, title in (
        ("answer_p50", "submit to answer (OK) p50"),
        ("ack_p50", "submit to Kafka's ack p50"),
        ("ack_p95", "submit to Kafka's ack p95"),
        ("ack_p99", "submit to Kafka's ack p99"),
    ):
        one, other = (statistics.median(getattr(r, name) for r in rounds) for rounds in (without, with_spool))
        print(f"{title:<28}{one:>10.2f}{other:>10.2f}{other - one:>10.2f}{other / one:>8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(measure(given.rounds, given.rate, given.seconds, Path(place)))
