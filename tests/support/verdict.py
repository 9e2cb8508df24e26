"""What a fault did to the events: the topic, read to its end, beside what was promised."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import confluent_kafka
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.load import Call
from tests.support.waiting import wait_for

PARTITIONS = 4
VERDICT = "verdict"
"""What a test's report calls its row of the table."""


@dataclass(frozen=True)
class Seen:
    """One record of the topic."""

    camera_id: str
    event_id: str
    epoch: int
    sequence: int
    replayed: bool
    at: float
    """When the test read it, seconds, monotonic."""


class TopicFollower:
    """Reads a topic from its start for as long as it lives, with a client that is not ours and through all cuts."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._stop = threading.Event()
        self._seen: list[Seen] = []
        self._options = {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 300,
            "socket.timeout.ms": 10_000,
        }
        self._topic = topic
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def seen(self) -> list[Seen]:
        """All records so far, each partition's in its order."""
        return list(self._seen)

    def ids(self) -> set[str]:
        """Return the ids of all events so far."""
        return {seen.event_id for seen in self.seen}

    def of(self, cameras: Iterable[str]) -> list[Seen]:
        """Return the records of some cameras."""
        wanted = set(cameras)
        return [seen for seen in self.seen if seen.camera_id in wanted]

    def first_after(self, moment: float) -> Seen | None:
        """Return the first record that was read after a moment."""
        return next((seen for seen in self.seen if seen.at > moment), None)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _follow(self) -> None:
        # An error is an event of its own here: librdkafka reconnects by itself.
        consumer = Consumer({**self._options, "error_cb": lambda _: None}, logger=None)
        consumer.assign([TopicPartition(self._topic, number, 0) for number in range(PARTITIONS)])
        while not self._stop.is_set():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                self._seen.append(_seen(message))
        consumer.close()


def _seen(message: confluent_kafka.Message) -> Seen:
    value = json.loads(message.value())
    epoch, _, sequence = value["frame_id"].partition("-")
    return Seen(
        camera_id=message.key().decode(),
        event_id=value["event_id"],
        epoch=int(epoch),
        sequence=int(sequence),
        replayed=value["replayed"],
        at=time.monotonic(),
    )


@dataclass(frozen=True)
class Verdict:
    """One row of the table."""

    fault: str
    accepted: int
    """Calls answered ``OK``."""
    published: int
    """Of these, events that the topic has."""
    lost: int
    duplicated: int
    """Records whose event the topic had already."""
    out_of_order: int
    """First occurrences behind a later frame of their camera."""
    recovery_s: float | None
    """From the end of a network fault, or from the death of a process, to the first frame carried through anew."""

    @property
    def row(self) -> str:
        """As a row of a Markdown table."""
        recovery = "-" if self.recovery_s is None else f"{self.recovery_s:.1f}"
        cells = [self.fault, self.accepted, self.published, self.lost, self.duplicated, self.out_of_order, recovery]
        return f"| {' | '.join(str(cell) for cell in cells)} |"


HEADER = (
    "| fault | accepted with `OK` | published | lost | duplicated | out of order | seconds to recover |",
    f"|{'---|' * len(fields(Verdict))}",
)


def judge(
    fault: str,
    calls: Sequence[Call],
    follower: TopicFollower,
    recovery_s: float | None = None,
    timeout_s: float = 60.0,
) -> Verdict:
    """Wait until the topic has every accepted event, or the time-out, and count."""
    promised = {call.event_id for call in calls if call.accepted}
    with contextlib.suppress(TimeoutError):  # what is missing is counted
        wait_for(lambda: promised <= follower.ids(), timeout_s)
    seen = follower.of({call.camera_id for call in calls})
    times = Counter(record.event_id for record in seen)
    return Verdict(
        fault=fault,
        accepted=len(promised),
        published=len(promised & times.keys()),
        lost=len(promised - times.keys()),
        duplicated=times.total() - len(times),
        out_of_order=out_of_order(seen),
        recovery_s=recovery_s,
    )


def out_of_order(seen: Sequence[Seen]) -> int:
    """Count first occurrences of events that come after a later frame of their camera."""
    known: set[str] = set()
    latest: dict[str, tuple[int, int]] = {}
    late = 0
    for record in seen:
        if record.event_id in known:
            continue
        known.add(record.event_id)
        turn = (record.epoch, record.sequence)
        late += turn < latest.get(record.camera_id, (0, 0))
        latest[record.camera_id] = max(turn, latest.get(record.camera_id, (0, 0)))
    return late


def make_topic(bootstrap: str, topic: str) -> None:
    """Create the topic, and wait until the broker tells of it."""
    from confluent_kafka.admin import NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    for answer in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        answer.result(20)
    wait_for(lambda: topic in admin.list_topics(timeout=10).topics, 20, f"the topic {topic}")


def table_of(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the lines of the table."""
    return [*HEADER, *(verdict.row for verdict in verdicts)]
