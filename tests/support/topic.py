"""An independent reader of the topic."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.apache_kafka import PROBE
from tests.support.idle import pytest_pyfunc_call  # noqa: F401  # a hook
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Record:
    """One record of the topic, as an independent client read it."""

    key: str
    value: dict[str, Any]
    headers: dict[str, str]
    timestamp_ms: int
    partition: int
    offset: int


class TopicReader:
    """Reads a topic with confluent-kafka, from its start, without a consumer group."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
        metadata = wait_for(
            lambda: (
                AdminClient({"bootstrap.servers": bootstrap}).list_topics(topic, timeout=10).topics[topic].partitions
            ),
            what=f"the topic {topic}",
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in metadata])

    def read(self, enough: Callable[[list[Record]], bool], timeout_s: float = 60.0) -> list[Record]:
        """Read until ``enough`` says so."""
        records: list[Record] = []
        end = time.monotonic() + timeout_s
        while not enough(records):
            if time.monotonic() > end:
                raise TimeoutError(f"{len(records)} records within {timeout_s:.0f} s were not enough")
            message = self._consumer.poll(0.5)
            if message is not None and message.error() is None:
                records.append(_record(message))
        return records

    def read_all(self, timeout_s: float = 60.0) -> list[Record]:
        """Read what the topic has now, each partition's records in their order, but for probes."""
        ends = {
            part.partition: self._consumer.get_watermark_offsets(part, timeout=timeout_s)[1]
            for part in self._consumer.assignment()
        }
        left = {partition for partition, end in ends.items() if end > 0}

        def enough(records: list[Record]) -> bool:
            if records and records[-1].offset + 1 >= ends[records[-1].partition]:
                left.discard(records[-1].partition)
            return not left

        return [record for record in self.read(enough, timeout_s) if record.key != PROBE]

    def close(self) -> None:
        self._consumer.close()


def _record(message: Any) -> Record:
    return Record(
        key=message.key().decode(),
        value=json.loads(message.value()),
        headers={name: value.decode() for name, value in message.headers() or []},
        timestamp_ms=message.timestamp()[1],
        partition=message.partition(),
        offset=message.offset(),
    )
