"""Refusals against Apache Kafka itself: they concern the records that it names, and no other."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher import (
    EventPublisher,
    EventRecord,
    Spool,
    SpoolOptions,
    SpoolWriter,
    Submission,
    make_record,
    quarantined,
)
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka
from tests.support.kafka_broker import Listener
from tests.support.kafka_distribution import require_apache_kafka
from tests.support.topic import TopicReader
from tests.support.waiting import until

MINUTE_NS = 60_000_000_000
LIMITS = {
    "max.message.bytes": "20000",
    "message.timestamp.before.max.ms": "60000",
    "message.timestamp.after.max.ms": "60000",
}
PLAIN = Listener(
    "SASL",
    "SASL_PLAINTEXT",
    {
        "sasl.enabled.mechanisms": "PLAIN",
        "plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'user_ann="secret" ;',
    },
)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """One broker, with rights that may be taken from the user ``ann``."""
    require_apache_kafka()
    rights = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
        "super.users": "User:ANONYMOUS",
    }
    with ApacheKafka(tmp_path_factory.mktemp("kafka") / "cluster", properties=rights, listeners=[PLAIN]) as cluster:
        yield cluster


@pytest.fixture
def topic(kafka: ApacheKafka, request: pytest.FixtureRequest) -> str:
    """A topic of one partition, which all cameras share, with the limits of ``LIMITS`` or the test's own."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:200]
    kafka.create_topic(name, config=getattr(request, "param", LIMITS))
    return name


def event(frame: str, camera: str = "cam", label: str = "car", age_ns: int = 0) -> DetectionEvent:
    return DetectionEvent(
        camera_id=camera,
        frame_id=frame,
        captured_at_ns=time.time_ns() - age_ns,
        width=640,
        height=360,
        model="m.pt",
        objects=(DetectedObject(label, 2, 0.9, (1.0, 2.0, 3.0, 4.0)),),
        latency=StageLatencies(1, 1, 1, 1, 1),
    )


def record(frame: str, camera: str = "cam", label: str = "car", age_ns: int = 0) -> EventRecord:
    return make_record(event(frame, camera, label, age_ns), total_ms=5.0)


def without_key(good: EventRecord) -> EventRecord:
    return replace(good, key=cast(Any, None))


@asynccontextmanager
async def connected(settings: KafkaSettings) -> AsyncIterator[KafkaSink]:
    async def find() -> tuple[str, ...]:
        return settings.bootstrap_servers

    sink = KafkaSink(settings, find)
    sink.start()
    try:
        await until(lambda: sink.connected)
        yield sink
    finally:
        await sink.close()


def plain(kafka: ApacheKafka, topic: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka.bootstrap, topic=topic)


async def frames_by_camera(kafka: ApacheKafka, topic: str, count: int) -> dict[str, list[str]]:
    """Read so many records with another client: each camera's frames in the order of the topic."""
    reader = TopicReader(kafka.bootstrap[0], topic)
    found: dict[str, list[str]] = defaultdict(list)
    for one in await asyncio.to_thread(reader.read, lambda records: len(records) >= count):
        found[one.key].append(one.value["frame_id"])
    reader.close()
    return dict(found)


BAD = {
    "too large": (record("bad", label="x" * 30_000), "MESSAGE_TOO_LARGE"),
    "too old": (record("bad", age_ns=5 * MINUTE_NS), "INVALID_TIMESTAMP"),
    "too new": (record("bad", age_ns=-60 * MINUTE_NS), "INVALID_TIMESTAMP"),
}


@pytest.mark.parametrize("why", BAD)
async def test_after_a_refused_event_those_of_its_camera_and_of_others_are_published(
    kafka: ApacheKafka, topic: str, why: str
):
    bad, name = BAD[why]
    async with connected(plain(kafka, topic)) as sink:
        for number in range(3):
            with pytest.raises(DeliveryRefused, match=name):
                await sink.send(bad)
            await sink.send(record(f"f{number}"))
            await sink.send(record(f"f{number}", camera="other"))
            assert sink.connected
        assert await frames_by_camera(kafka, topic, 6) == {"cam": ["f0", "f1", "f2"], "other": ["f0", "f1", "f2"]}


@pytest.mark.parametrize("topic", [{"cleanup.policy": "compact"}], indirect=True)
async def test_a_record_that_a_compacted_topic_does_not_take_is_refused_alone(kafka: ApacheKafka, topic: str):
    async with connected(plain(kafka, topic)) as sink:
        with pytest.raises(DeliveryRefused, match=r"INVALID_RECORD.*without key"):
            await sink.send(without_key(record("bad")))
        await sink.send(record("good"))


@pytest.mark.parametrize("why", BAD)
async def test_of_the_events_that_travel_together_only_the_bad_one_is_set_aside(
    kafka: ApacheKafka, topic: str, why: str
):
    bad, _ = BAD[why]
    sent = [record("f", camera=f"cam-{number}") for number in range(60)]
    for place in (7, 30, 55):
        sent.insert(place, bad)
    async with connected(plain(kafka, topic)) as sink:
        outcomes = await asyncio.gather(*(sink.send(one) for one in sent), return_exceptions=True)
        refused = [one for one, outcome in zip(sent, outcomes, strict=True) if isinstance(outcome, DeliveryRefused)]
        assert refused == [bad, bad, bad]
        offsets = {outcome.offset for outcome in outcomes if not isinstance(outcome, BaseException)}
        assert len(offsets) == 60
        await sink.send(record("after"))
        assert sorted(await frames_by_camera(kafka, topic, 61)) == sorted({one.key.decode() for one in sent} | {"cam"})


@pytest.mark.parametrize("topic", [{"max.message.bytes": "1500"}], indirect=True)
async def test_events_that_are_too_large_only_together_are_all_published(kafka: ApacheKafka, topic: str):
    async with connected(plain(kafka, topic)) as sink:
        sent = [record("f", camera=f"cam-{number}") for number in range(25)]
        await asyncio.gather(*(sink.send(one) for one in sent))
        assert len(await frames_by_camera(kafka, topic, 25)) == 25


async def test_a_topic_that_is_deleted_and_made_again_gets_the_events_that_waited(kafka: ApacheKafka, topic: str):
    async with connected(plain(kafka, topic)) as sink:
        await sink.send(record("before"))
        kafka.delete_topic(topic)
        began = time.monotonic()
        with pytest.raises(DeliveryUnavailable, match="does not exist"):
            await sink.send(record("during"))
        assert time.monotonic() - began < 5  # an answer takes 7 s to be given up, and this one is clear
        kafka.create_topic(topic)
        await until(lambda: sink.connected)
        await sink.send(record("after"))


async def send_on(sink: KafkaSink) -> None:
    while True:
        await sink.send(record("before"))


async def send_until_taken(sink: KafkaSink, one: EventRecord) -> None:
    while True:
        try:
            await sink.send(one)
        except DeliveryUnavailable:
            await until(lambda: sink.connected)
        else:
            return


async def test_rights_that_are_taken_hold_events_back_and_given_again_let_them_through(kafka: ApacheKafka, topic: str):
    rule = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ann", "*", AclOperation.WRITE)
    settings = KafkaSettings(
        bootstrap_servers=(kafka.brokers[0].address("SASL"),),
        topic=topic,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="ann",
        sasl_password="secret",
    )
    async with connected(settings) as sink:
        await sink.send(record("before"))
        for reported in kafka.admin.create_acls([AclBinding(*rule, AclPermissionType.DENY)]).values():
            reported.result(30)
        with pytest.raises(DeliveryUnavailable, match=r"Kafka denies User:ann the right Write on the topic"):
            await send_on(sink)  # the broker learns of the rule a moment after it is given
        for reported in kafka.admin.delete_acls([AclBindingFilter(*rule, AclPermissionType.DENY)]).values():
            reported.result(30)
        async with asyncio.timeout(30):
            await send_until_taken(sink, record("after"))


@pytest.mark.parametrize("topic", [{"max.message.bytes": "4000000"}], indirect=True)
async def test_of_events_larger_than_a_batch_those_up_to_a_mebibyte_are_published_and_others_set_aside_alone(
    kafka: ApacheKafka, topic: str
):
    """The limit is the client's own; the topic would take four times as much."""
    sizes = {"100-kB": 100_000, "900-kB": 900_000, "1.1-MB": 1_100_000, "2-MB": 2_000_000}
    sent = [record(name, label="x" * size) for name, size in sizes.items()]
    sent = [one for large in sent for one in (large, record("small"))]
    async with connected(plain(kafka, topic)) as sink:
        outcomes = await asyncio.gather(*(sink.send(one) for one in sent), return_exceptions=True)
        refused = [one for one, outcome in zip(sent, outcomes, strict=True) if isinstance(outcome, DeliveryRefused)]
        assert refused == [sent[4], sent[6]]
        assert all("the client's 1 MiB" in str(outcomes[place]) for place in (4, 6))
        assert (await frames_by_camera(kafka, topic, 6))["cam"] == [
            "100-kB",
            "small",
            "900-kB",
            "small",
            "small",
            "small",
        ]


@pytest.mark.slow
async def test_an_event_waits_for_replicas_that_are_away_and_is_not_refused(tmp_path: Path):
    require_apache_kafka()
    with ApacheKafka(tmp_path / "cluster", brokers=3) as cluster:
        cluster.create_topic("replicas", config={"min.insync.replicas": "3"})
        leader = cluster.leader("replicas")
        other = next(broker for broker in cluster.brokers if broker is not leader)
        async with connected(plain(cluster, "replicas")) as sink:
            await sink.send(record("before"))
            other.shut_down()
            with pytest.raises(DeliveryUnavailable, match="NotEnoughReplicas"):
                await sink.send(record("during"))
            other.start()
            async with asyncio.timeout(90):
                await send_until_taken(sink, record("during"))
        assert await frames_by_camera(cluster, "replicas", 2) == {"cam": ["before", "during"]}


class Deaf:
    """An observer that keeps nothing."""

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        pass

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        pass


async def test_a_publisher_sets_aside_what_grew_too_old_in_an_outage_and_publishes_all_the_rest_in_order(
    kafka: ApacheKafka, topic: str, tmp_path: Path
):
    cameras = [f"cam-{number}" for number in range(4)]
    async with connected(plain(kafka, topic)) as sink:
        writer = SpoolWriter(lambda: Spool(SpoolOptions(tmp_path)))
        publisher = EventPublisher(sink, writer, budget_ms=200, observer=Deaf())
        publisher.start()
        for number in range(30):  # every third one is as old as after an outage of five minutes
            age_ns = 5 * MINUTE_NS if number % 3 == 0 else 0
            for camera in cameras:
                await publisher.publish(Submission(event(f"{number:02}", camera, age_ns=age_ns), 1, number + 1))
        await until(lambda: publisher.snapshot().spooled == 0)
        now = publisher.snapshot()
        await publisher.close()
    assert (now.published, now.quarantined, now.trouble) == (80, 40, "")
    good = [f"{number:02}" for number in range(30) if number % 3]
    assert await frames_by_camera(kafka, topic, 80) == dict.fromkeys(cameras, good)
    assert all("INVALID_TIMESTAMP" in json.dumps(one.reason) for one in quarantined(tmp_path))
