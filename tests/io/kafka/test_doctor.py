"""What ``sightline doctor`` says of a cluster of three brokers: addresses and replicas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.cli.checks import Finding, State, check_kafka
from app.core.ports import free_port
from app.settings.loading import load_settings
from tests.support.apache_kafka import ApacheKafka
from tests.support.kafka_broker import Listener
from tests.support.kafka_distribution import require_apache_kafka

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LOST = 2
"""The broker whose second listener advertises an address where nobody listens."""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    require_apache_kafka()
    folder = tmp_path_factory.mktemp("doctor")
    advertised = {(LOST, "OUTSIDE"): f"127.0.0.1:{free_port()}"}
    with ApacheKafka(
        folder / "cluster", brokers=3, listeners=[Listener("OUTSIDE", "PLAINTEXT")], advertised=advertised
    ) as cluster:
        yield cluster


def asked(bootstrap: tuple[str, ...], topic: str) -> list[Finding]:
    """Return what ``doctor`` finds of Kafka, with the topic of the detections alone."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(bootstrap),
        "KAFKA_TOPIC": topic,
        "KAFKA_ANOMALIES_TOPIC": "null",
        "KAFKA_OBJECTS_TOPIC": "null",
        "SIGHTLINE_CAMERAS": "gate=synthetic://street",
    }
    return list(check_kafka(load_settings(environment)))


def noted(findings: list[Finding]) -> list[str]:
    """Return the warnings behind what passed."""
    assert [one.state for one in findings] == [State.PASSED, *[State.NOTE] * (len(findings) - 1)], findings
    return [one.detail for one in findings[1:]]


@pytest.mark.parametrize(
    ("replicas", "in_sync", "warned"),
    [
        (3, "2", []),
        (3, "1", ["min.insync.replicas of the topic {!r} is 1: an acknowledged event may be on one broker only"]),
        (1, "1", ["the topic {!r} has one replica: its events are lost with the disk of one broker"]),
    ],
    ids=["three-of-which-two", "three-of-which-one", "one"],
)
def test_a_topic_is_warned_of_that_keeps_an_event_on_one_broker(
    kafka: ApacheKafka, replicas: int, in_sync: str, warned: list[str]
):
    topic = f"kept.{replicas}.{in_sync}"
    kafka.create_topic(topic, partitions=3, replicas=replicas, config={"min.insync.replicas": in_sync})
    findings = asked(kafka.bootstrap, topic)
    assert noted(findings) == [sentence.format(topic) for sentence in warned]
    assert findings[0].detail.endswith(f"answers, topic {topic} has 3 partitions and may be written to")
    assert kafka.end_offset(topic) == 0


def test_an_address_that_one_of_three_brokers_advertises_in_vain_is_named_with_the_broker(kafka: ApacheKafka):
    kafka.create_topic("advertised", config={"min.insync.replicas": "2"})
    outside = tuple(broker.address("OUTSIDE") for broker in kafka.brokers)
    (found,) = asked(outside[:1], "advertised")
    assert found.state is State.FAILED
    assert found.detail.startswith(f"{outside[0]} answers, and advertises its broker {LOST} as 127.0.0.1:")
    assert "advertised.listeners of that broker" in found.detail


def test_of_three_addresses_a_dead_one_is_named_and_the_topic_is_checked_by_the_others(kafka: ApacheKafka):
    kafka.create_topic("dead", partitions=3, config={"min.insync.replicas": "2"})
    kafka.brokers[2].kill()
    try:
        kafka.wait_led("dead", 3, in_sync=2, without=[kafka.brokers[2]])
        assert noted(asked(kafka.bootstrap, "dead")) == [f"nothing listens on {kafka.bootstrap[2]}"]
    finally:
        kafka.mend()
