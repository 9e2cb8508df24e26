"""Incidents and objects at a real broker: topics of their own, however often the publisher is killed meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation

from app.cli.checks import State, check_kafka
from app.core.ports import free_port
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from app.settings.loading import load_settings
from tests.support.apache_kafka import ApacheKafka
from tests.support.kafka_broker import Listener
from tests.support.kafka_distribution import require_apache_kafka
from tests.support.mortal_publishers import kafka_sinks, mortal_publishers
from tests.support.street import FPS, INTRUSION, LINE, running_street
from tests.support.topic import Record, TopicReader

PASS = 14 * FPS
SASL = Listener(
    "SASL",
    "SASL_PLAINTEXT",
    {
        "sasl.enabled.mechanisms": "PLAIN",
        "plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'user_ann="secret" ;',
    },
)
RIGHTS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    "super.users": "User:ANONYMOUS",
}


def once(records: list[Record]) -> list[dict[str, Any]]:
    """Return what the records say, each once: a record that was sent again has the same id."""
    return list({record.headers["ce_id"]: record.value for record in records}.values())


def at_the_broker(broker: str, topic: str, enough: int) -> list[Record]:
    reader = TopicReader(broker, topic)
    try:
        return reader.read(lambda records: len({one.headers["ce_id"] for one in records}) >= enough)
    finally:
        reader.close()


async def test_a_topic_that_is_missing_holds_back_its_own_records_alone(tmp_path: Path, broker: str):
    async def find() -> tuple[str, ...]:
        return (broker,)

    made, missing = f"objects.{time.time_ns()}", f"anomalies.{time.time_ns()}"
    settings = KafkaSettings(bootstrap_servers=(broker,), topic=f"events.{time.time_ns()}", create_topic=True)
    sink, objects = KafkaSink(settings, find), KafkaSink(settings.of_topic(made), find)
    anomalies = KafkaSink(settings.of_topic(missing).model_copy(update={"create_topic": False}), find)
    channels = {"anomalies": anomalies, "objects": objects}
    try:
        async with running_street(tmp_path, sink, channels, start_s=time.time() - 60) as street:
            await street.set_rules(INTRUSION)
            for number in range(PASS):
                await street.show(number)
            await street.settled("objects")
            await street.it.until(lambda now: "does not exist" in now.channels["anomalies"].trouble)
            assert (street.it.now.trouble, street.it.now.published) == ("", PASS)
            assert missing in street.it.now.channels["anomalies"].trouble
            assert street.it.now.channels["anomalies"].accounts.waiting == 2
    finally:
        await asyncio.gather(*(one.close() for one in (sink, objects, anomalies)))
    states = [one.value["state"] for one in await asyncio.to_thread(at_the_broker, broker, made, 3)]
    assert states == ["new", "update", "end"]


@pytest.mark.slow
async def test_topics_that_are_refused_and_missing_hold_back_themselves_alone_until_that_is_mended(tmp_path: Path):
    require_apache_kafka()
    anomalies, objects = "events.anomalies", "events.objects"
    with ApacheKafka(tmp_path / "cluster", properties=RIGHTS, listeners=[SASL]) as kafka:
        for topic in ("events.detections", anomalies):
            kafka.create_topic(topic)
        kafka.allow("User:ann", AclOperation.DESCRIBE, anomalies)  # and with that nothing else
        shell = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.brokers[0].address("SASL"),
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": "ann",
            "KAFKA_SASL_PASSWORD": "secret",
            "SIGHTLINE_CAMERAS": "cam=synthetic://street",
        }
        settings = load_settings(shell)
        refused, missing = "Kafka denies User:ann the right Write on the topic", f"the topic '{objects}' does not exist"

        found = await asyncio.to_thread(lambda: list(check_kafka(settings)))
        assert [one.state for one in found[:3]] == [State.PASSED, State.FAILED, State.FAILED]
        assert (refused in found[1].detail, anomalies in found[1].detail) == (True, True)
        assert "kafka.anomalies_topic" in found[1].mend
        assert missing in found[2].detail
        assert "kafka.objects_topic" in found[2].mend

        sinks = [KafkaSink(settings.kafka.of_topic(topic), find_of(settings.kafka)) for topic in (anomalies, objects)]
        events = KafkaSink(settings.kafka, find_of(settings.kafka))
        channels = dict(zip(("anomalies", "objects"), sinks, strict=True))
        try:
            async with running_street(tmp_path, events, channels, start_s=time.time() - 60) as street:
                await street.set_rules(INTRUSION)
                for number in range(PASS):
                    await street.show(number)
                await street.it.until(lambda now: now.published == PASS and not now.trouble)
                await street.it.until(lambda now: refused in now.channels["anomalies"].trouble)
                await street.it.until(lambda now: missing in now.channels["objects"].trouble)
                assert [street.it.now.channels[one].accounts.waiting for one in ("anomalies", "objects")] == [2, 3]

                kafka.create_topic(objects)
                await street.settled("objects")
                assert street.it.now.channels["anomalies"].accounts.waiting == 2
                kafka.allow("User:ann", AclOperation.WRITE, anomalies)
                await street.settled()
                assert [one.trouble for one in street.it.now.channels.values()] == ["", ""]
        finally:
            await asyncio.gather(*(one.close() for one in (events, *sinks)))
        told = {topic: once(await asyncio.to_thread(at_the_broker, kafka.bootstrap[0], topic, count))
                for topic, count in ((anomalies, 2), (objects, 3))}  # fmt: skip
    assert [one["state"] for one in told[anomalies]] == ["new", "end"]
    assert [one["state"] for one in told[objects]] == ["new", "update", "end"]


def find_of(settings: KafkaSettings) -> Callable[[], Awaitable[tuple[str, ...]]]:
    async def find() -> tuple[str, ...]:
        return settings.bootstrap_servers

    return find


@pytest.mark.slow
async def test_a_broker_away_for_a_minute_and_ten_deaths_leave_each_incident_one_new_and_one_end(tmp_path: Path):
    port, start_s = free_port(), time.time() - 60
    broker = f"127.0.0.1:{port}"
    async with running_street(tmp_path, start_s=start_s) as street:
        await street.set_rules(INTRUSION, LINE)
    away_until = time.monotonic() + 60
    number = 0
    with mortal_publishers(tmp_path, start_s, broker) as mortals:
        for life in range(10):
            number = await asyncio.to_thread(mortals.live_and_die, number, PASS // 20)
            await asyncio.sleep(max(0.0, (away_until - time.monotonic()) / (10 - life)))
        with EmbeddedBroker(port):
            number = await asyncio.to_thread(mortals.live_and_die, number, PASS // 4)  # while it sends
            sink, channels = kafka_sinks(broker)
            try:
                async with running_street(tmp_path, sink, channels, start_s=start_s) as street:
                    for rest in range(number, PASS):
                        await street.show(rest)
                    await street.settled()
            finally:
                await asyncio.gather(*(one.close() for one in (sink, *channels.values())))
            anomalies = await asyncio.to_thread(at_the_broker, broker, "events.anomalies", 3)
            objects = await asyncio.to_thread(at_the_broker, broker, "events.objects", 3)
            events = await asyncio.to_thread(at_the_broker, broker, "events.detections", PASS)
    assert [(one["rule"], one["state"]) for one in once(anomalies)] == [
        ("count", "instant"),
        ("gate", "new"),
        ("gate", "end"),
    ]
    assert [one["state"] for one in once(objects)] == ["new", "update", "end"]
    told = [one for event in once(events) for one in event["anomalies"] if one["state"] != "active"]
    assert [(one["rule"], one["state"]) for one in told] == [("count", "instant"), ("gate", "new"), ("gate", "end")]
