"""Publishers that are killed: ``python -m tests.support.mortal_publishers FOLDER START [BROKER]``.

It forks a publisher for each line that it reads, which has the number of the first frame. The publisher holds the spool
in FOLDER, commits the frames of a street from there on, one after the other, and prints the number of each when it is
answered; until somebody kills it. Without a broker Kafka is away. The process itself has no thread, so that it may
fork, and has loaded all modules once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.core.channel import CHANNELS, Channel
from app.errors import DeliveryUnavailable
from app.publisher import Sink
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.paths import ROOT
from tests.support.publisher import Topic
from tests.support.street import START_S, running_street

PAUSE_S = 0.01
"""Between two frames, so that a death finds some that are being committed and some that are being sent."""


class MortalPublishers:
    """Starts publishers, one after the other, and kills them."""

    def __init__(self, folder: Path, start_s: float, broker: str | None) -> None:
        arguments = [str(folder), str(start_s), *([broker] if broker else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.mortal_publishers", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live_and_die(self, first: int, frames: int) -> int:
        """Start a publisher, kill it once it has answered so many frames, and return the last one that it answered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{first}\n")
        self._process.stdin.flush()
        _, pid = self._process.stdout.readline().split()
        last = first
        for _ in range(frames):
            last = int(self._process.stdout.readline())
        os.kill(int(pid), signal.SIGKILL)
        while (line := self._process.stdout.readline()).strip() != "dead":
            last = int(line)
        return last

    def close(self) -> None:
        """End the process that forks them."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@contextlib.contextmanager
def mortal_publishers(folder: Path, start_s: float = START_S, broker: str | None = None) -> Iterator[MortalPublishers]:
    """Start the process that forks them; ``start_s``: Unix time of the street's first frame."""
    made = MortalPublishers(folder, start_s, broker)
    try:
        yield made
    finally:
        made.close()


def kafka_sinks(broker: str) -> tuple[KafkaSink, Mapping[Channel, KafkaSink]]:
    """Return sinks for the events and for the other topics."""

    async def find() -> tuple[str, ...]:
        return (broker,)

    settings = KafkaSettings(bootstrap_servers=(broker,), create_topic=True, partitions=2)
    channels = {name: KafkaSink(settings.of_topic(topic), find) for name, topic in settings.channel_topics.items()}
    return KafkaSink(settings, find), channels


async def _live(folder: Path, start_s: float, broker: str | None, first: int) -> None:
    sink: Sink
    channels: Mapping[Channel, Sink]
    if broker is None:
        away = [Topic() for _ in range(1 + len(CHANNELS))]
        for topic in away:
            topic.error = DeliveryUnavailable("away")
        sink, channels = away[0], dict(zip(CHANNELS, away[1:], strict=True))
    else:
        sink, channels = kafka_sinks(broker)
    async with running_street(folder, sink, channels, start_s=start_s) as street:
        number = first
        while True:
            await street.show(number)
            print(number, flush=True)
            number += 1
            await asyncio.sleep(PAUSE_S)


def main() -> None:
    """Fork a publisher for each line."""
    folder, start_s, broker = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            sys.stdin.close()
            print("pid", os.getpid(), flush=True)
            asyncio.run(_live(folder, start_s, broker, int(line)))
        os.waitpid(pid, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main()
