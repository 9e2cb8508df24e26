"""What is read of a topic, what it would cost the events, and how old an event may be."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.ports import free_port
from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher import EventRecord
from app.publisher.kafka.preflight import Needs, check_broker
from app.publisher.kafka.sink import KafkaSink
from app.publisher.kafka.topic import Right, Topic, TopicConfig, principal_of, rights_of
from app.publisher.kafka.topic_check import crowded_bytes, topic_warnings
from app.publisher.kafka.troubles import Trouble
from app.settings.connections import KafkaSettings
from tests.support.scripted_broker import ScriptedBroker

DAY = timedelta(days=1)
CONFIG = TopicConfig("delete", 1_048_588, 2, 7 * DAY, None)
GOOD = Topic("events", 8, 3, frozenset({Right.DESCRIBE, Right.WRITE}), CONFIG)
NEEDS = Needs(detections=300, bridged=2 * DAY)
COSTLY = {
    "compacted": (replace(CONFIG, cleanup_policy="compact,delete"), "Kafka deletes all but the last event"),
    "small": (replace(CONFIG, max_message_bytes=20_000), f"is 20000, and a frame of 300 .* needs {crowded_bytes(300)}"),
    "retention": (replace(CONFIG, retention=DAY), "retention.ms .* is 1 d, and the spool bridges an outage of 2 d"),
    "timestamps": (replace(CONFIG, oldest_timestamp=timedelta(hours=1)), r"before\.max\.ms .* is 1 h, and the spool"),
    "in sync": (replace(CONFIG, min_insync_replicas=1), "min.insync.replicas .* is 1"),
}


def test_a_topic_with_nothing_to_say_of_it_has_no_warning():
    assert list(topic_warnings(GOOD, KafkaSettings(), NEEDS)) == []


@pytest.mark.parametrize("what", COSTLY)
def test_each_setting_that_costs_events_has_one_sentence(what: str):
    config, reported = COSTLY[what]
    (warning,) = topic_warnings(replace(GOOD, config=config), KafkaSettings(), NEEDS)
    assert re.search(reported, warning)


def test_one_replica_unknown_rights_and_settings_that_cannot_be_read_are_reported():
    topic = replace(GOOD, replicas=1, rights=None, config=None, unreadable="no answer")
    warnings = list(topic_warnings(topic, KafkaSettings(), NEEDS))
    assert [len(warnings), *("\n" in one for one in warnings)] == [3, False, False, False]
    assert "what User:ANONYMOUS may do" in warnings[0]
    assert "one replica" in warnings[1]
    assert "(no answer)" in warnings[2]


def test_more_detections_than_the_client_s_record_holds_are_reported():
    (warning, _) = topic_warnings(GOOD, KafkaSettings(), replace(NEEDS, detections=10_000))
    assert "lower DETECTOR_MAX_DETECTIONS" in warning


def test_a_crowded_frame_grows_by_the_size_of_a_detection():
    assert 30_000 < crowded_bytes(300) < 70_000
    assert crowded_bytes(301) - crowded_bytes(300) == pytest.approx(crowded_bytes(300) / 300, rel=0.1)


def test_rights_are_believed_only_where_what_was_just_done_is_among_them():
    assert rights_of(["DESCRIBE", "WRITE", "ALTER"]) == {Right.DESCRIBE, Right.WRITE}
    assert rights_of(["DESCRIBE"]) == {Right.DESCRIBE}
    assert [rights_of(None), rights_of([]), rights_of(["ALTER"])] == [None, None, None]


def test_the_principal_is_named_as_far_as_the_settings_tell_it():
    by_password = KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="ann")
    by_token = KafkaSettings(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_oauth_client_id="sightline"
    )
    assert principal_of(by_password) == "User:ann"
    assert principal_of(by_token) == "the subject of the token of client 'sightline'"
    assert principal_of(KafkaSettings()) == "User:ANONYMOUS"


async def test_before_a_start_a_producer_id_is_obtained_and_nothing_is_written():
    async with ScriptedBroker("events", lambda _: None) as broker:
        settings = KafkaSettings(bootstrap_servers=(broker.address,), topic="events")
        report = await asyncio.to_thread(check_broker, settings, NEEDS)
        assert report.where == f"{broker.address} answers, topic events has 2 partitions and may be written to"
        assert (broker.requests["InitProducerIdRequest"], broker.requests["ProduceRequest"]) == (1, 0)


# Age


def record(age: timedelta) -> EventRecord:
    return EventRecord(b"cam", b"{}", (), int((time.time() - age.total_seconds()) * 1000))


@pytest.mark.parametrize(
    ("config", "kept_by"),
    [
        ({"retention.ms": "86400000"}, "'events' by its retention.ms keeps events for 1 d"),
        (None, "'events' by kafka.max_event_age keeps events for 2 d"),
    ],
)
async def test_an_event_older_than_the_topic_keeps_is_refused_and_no_other(config: dict[str, str] | None, kept_by: str):
    broker = ScriptedBroker("events", lambda _: None, partitions=1, config=config)
    async with broker:
        settings = KafkaSettings(bootstrap_servers=(broker.address,), topic="events", max_event_age=2 * DAY)
        sink = await connected(settings)
        with pytest.raises(DeliveryRefused, match=rf"^the event is 2\.1 d old, and the topic {kept_by}: it would be"):
            await sink.send(record(2.1 * DAY))
        await sink.send(record(timedelta(hours=23)))
        await sink.close()
    assert broker.logs[0] == [b"{}"]


@pytest.mark.parametrize(
    "config",
    [
        {"retention.ms": "-1"},
        {"retention.ms": "1000", "cleanup.policy": "compact"},
        {"retention.ms": "1000", "message.timestamp.type": "LogAppendTime"},
    ],
)
async def test_an_old_event_is_sent_where_the_topic_keeps_it(config: dict[str, str]):
    broker = ScriptedBroker("events", lambda _: None, partitions=1, config=config)
    async with broker:
        sink = await connected(KafkaSettings(bootstrap_servers=(broker.address,), topic="events"))
        await sink.send(record(8 * DAY))
        await sink.close()
    assert broker.logs[0] == [b"{}"]


# Addresses


async def test_a_dead_address_among_several_is_reported_while_events_are_delivered(caplog: pytest.LogCaptureFixture):
    dead = f"127.0.0.1:{free_port()}"
    async with ScriptedBroker("events", lambda _: None, partitions=1) as broker:
        sink = await connected(KafkaSettings(bootstrap_servers=(dead, broker.address), topic="events"))
        async with asyncio.timeout(20):
            while not sink.warning:
                await asyncio.sleep(0.005)
        assert (sink.warning, sink.trouble) == (f"nothing listens on {dead}", "")
        await sink.send(record(timedelta()))
        await sink.close()
    assert f"an address of Kafka fails: nothing listens on {dead}" in caplog.text


async def test_a_broker_that_cannot_be_reached_where_it_says_is_named_while_others_take_events(
    caplog: pytest.LogCaptureFixture,
):
    port = free_port()
    async with ScriptedBroker("events", lambda _: None, partitions=1, others={2: port}) as broker:
        settings = KafkaSettings(bootstrap_servers=(broker.address,), topic="events")
        said = Trouble.ADVERTISED.say(
            peer=broker.address,
            node=2,
            advertised=f"127.0.0.1:{port}",
            why=Trouble.NOTHING_LISTENS.say(peer=f"127.0.0.1:{port}"),
        )
        with pytest.raises(DeliveryUnavailable) as raised:
            await asyncio.to_thread(check_broker, settings, NEEDS)
        assert str(raised.value) == said
        sink = await connected(settings)
        async with asyncio.timeout(20):
            while not sink.warning:
                await asyncio.sleep(0.005)
        assert (sink.warning, sink.trouble) == (said, "")
        await sink.send(record(timedelta()))
        await sink.close()
    assert f"an address of Kafka fails: {said}" in caplog.text


async def connected(settings: KafkaSettings) -> KafkaSink:
    async def find() -> tuple[str, ...]:
        return settings.bootstrap_servers

    sink = KafkaSink(settings, find)
    sink.start()
    async with asyncio.timeout(20):
        while not sink.connected:
            await asyncio.sleep(0.005)
    return sink
