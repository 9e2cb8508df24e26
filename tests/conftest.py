"""What the test tiers share: an independent reader of the topic, and waiting for conditions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from hypothesis import settings

from tests.idle import pytest_pyfunc_call  # noqa: F401  # a hook

# An example that takes long says that the machine is busy, and nothing else.
settings.register_profile("sightline", deadline=None)
settings.load_profile("sightline")

ROOT = Path(__file__).resolve().parents[1]
T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", help="write the table that the tests make (faults, soak, streams) to this file")
    parser.addoption(
        "--cycles",
        type=int,
        default=200,
        help="how many cameras test_runtime_cycles adds and removes; with less than 200, noise may break its bounds",
    )


def wait_for(probe: Callable[[], T | None], timeout_s: float = 60.0, what: str = "the condition") -> T:
    """Ask until the answer is true, and give it."""
    end = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come about within {timeout_s:.0f} s")
        time.sleep(0.05)


@dataclass
class Table:
    """Where tests leave their figures for people: the file of ``--table``."""

    path: Path | None
    _begun: bool = False

    def write(self, lines: Sequence[str]) -> None:
        """Print some lines, and add them to the file, where one was named."""
        text = "\n".join([*lines, ""])
        print(text)
        if self.path is not None:
            before = self.path.read_text() + "\n" if self._begun else ""
            self.path.write_text(before + text)
            self._begun = True


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    given = request.config.getoption("--table")
    return Table(Path(given) if given else None)


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


@pytest.fixture(scope="session")
def event_schema() -> jsonschema.Draft202012Validator:
    """The published schema, formats checked."""
    schema = json.loads((ROOT / "proto" / "detection_event.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
