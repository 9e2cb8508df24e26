"""Rules tried on the events that a topic has, and incidents followed, without a consumer group."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from app.analysis.rules.example import START_MS
from app.cli.anomalies import follow_lines
from app.core.iso_time import iso_time
from app.settings.loading import load_settings
from tests.support.command import call
from tests.support.verdict import make_topic

RULES = "rules: [{id: yard, type: intrusion, zone: [[0, 0], [1, 0], [1, 1], [0, 1]], start_after: 1, end_after: 1}]"
SECONDS = 40


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def event(camera: str, seconds: int, *, there: bool) -> dict[str, Any]:
    seen = {"class": "person", "confidence": 0.9, "bbox": [40.0, 40.0, 10.0, 20.0], "track_id": 7 + seconds // 20}
    return {
        "timestamp": iso_time(START_MS + seconds * 1000),
        "camera_id": camera,
        "frame": {"width": 100, "height": 100},
        "detections": [seen] if there else [],
        "anomalies": [],
    }


def write(bootstrap: str, topic: str, cameras: tuple[str, ...]) -> None:
    """Write events of cameras: in each, someone is there from 5 s to 10 s and from 25 s to 30 s."""
    make_topic(bootstrap, topic)
    producer = Producer({"bootstrap.servers": bootstrap})
    for seconds in range(SECONDS):
        for camera in cameras:
            value = json.dumps(event(camera, seconds, there=5 <= seconds % 20 < 10))
            producer.produce(topic, value, camera, timestamp=START_MS + seconds * 1000)
    assert producer.flush(20) == 0


@pytest.fixture(scope="module")
def topic(broker: str) -> str:
    write(broker, "past.events", ("gate", "yard", "door"))
    return "past.events"


def transitions(broker: str, topic: str, rules: Path, *options: str) -> list[tuple[str, str]]:
    done = call(
        "rules", "test", str(rules), "--from-topic", *options, "--json",
        KAFKA_BOOTSTRAP_SERVERS=broker, KAFKA_TOPIC=topic,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return sorted((one["camera_id"], one["state"]) for one in map(json.loads, done.stdout.splitlines()))


def test_rules_are_tried_on_every_event_that_the_topic_has(broker: str, topic: str, rules: Path):
    found = transitions(broker, topic, rules)
    assert found == sorted((camera, state) for camera in ("gate", "yard", "door") for state in ("new", "end") * 2)


def test_rules_are_tried_on_the_events_since_a_time(broker: str, topic: str, rules: Path):
    since = iso_time(START_MS + 20_000)
    assert len(transitions(broker, topic, rules, "--since", since)) == 6
    assert transitions(broker, topic, rules, "--since", iso_time(START_MS + 3_600_000)) == []


def test_a_difference_to_what_was_published_is_a_status_for_programs(broker: str, topic: str, rules: Path):
    environment = {"KAFKA_BOOTSTRAP_SERVERS": broker, "KAFKA_TOPIC": topic}
    done = call("rules", "test", str(rules), "--from-topic", "--fail-on-diff", **environment)
    assert done.returncode == 1
    assert f"{3 * SECONDS} events" in done.stdout
    rules.write_text("rules: []")
    assert call("rules", "test", str(rules), "--from-topic", "--fail-on-diff", **environment).returncode == 0


def test_an_empty_topic_and_a_missing_one_end_at_once(broker: str, rules: Path):
    make_topic(broker, "past.empty")
    assert transitions(broker, "past.empty", rules) == []
    missing = call(
        "rules", "test", str(rules), "--from-topic", KAFKA_BOOTSTRAP_SERVERS=broker, KAFKA_TOPIC="past.nowhere"
    )
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "'past.nowhere' does not exist" in missing.stderr


def test_no_reader_leaves_a_consumer_group(broker: str, topic: str, rules: Path):
    transitions(broker, topic, rules)
    listed = AdminClient({"bootstrap.servers": broker}).list_consumer_groups().result(20)
    assert [group.group_id for group in listed.valid if "sightline" in group.group_id] == []


def test_incidents_are_followed_from_now_on(broker: str):
    make_topic(broker, "past.anomalies")
    settings = load_settings({"KAFKA_BOOTSTRAP_SERVERS": broker, "KAFKA_ANOMALIES_TOPIC": "past.anomalies"})
    body = {
        "anomaly_id": "a-1", "camera_id": "gate", "rule": "stop", "type": "stopped", "severity": "warning",
        "state": "new", "started_at": "2026-01-10T12:00:00.000Z", "ended_at": None, "reason": None, "classes": ["car"],
        "direction": None,
    }  # fmt: skip
    producer = Producer({"bootstrap.servers": broker})
    done = threading.Event()

    def keep_writing() -> None:
        while not done.wait(0.05):  # the first ones may come before it follows
            producer.produce("past.anomalies", json.dumps({**body, "camera_id": "yard"}), "yard")
            producer.produce("past.anomalies", json.dumps(body), "gate")
            producer.poll(0)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        lines = list(follow_lines(settings, camera="gate", count=2, raw=False))
    finally:
        done.set()
        writer.join()
    assert lines == ["12:00:00.000  gate             warning new     stop (stopped)  car"] * 2
