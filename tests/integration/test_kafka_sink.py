"""The sink against a real broker: what an acknowledgement means, and what happens when the broker is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from app.errors import DeliveryRefused, DeliveryUnavailable
from app.events import DetectionEvent, EmbeddedBroker, KafkaSink, SeenObject, StageLatencies, TopicFollower, make_record
from app.settings import KafkaSettings
from tests.conftest import TopicReader
from tests.integration.conftest import free_port


def record(frame: str, camera: str = "cam", label: str = "car"):
    event = DetectionEvent(
        camera_id=camera,
        frame_id=frame,
        captured_at_ns=time.time_ns(),
        width=640,
        height=360,
        model="m.pt",
        objects=(SeenObject(label, 2, 0.9, (1.0, 2.0, 3.0, 4.0)),),
        latency=StageLatencies(1, 1, 1, 1, 1),
    )
    return make_record(event, total_ms=5.0)


async def until(condition, timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def kafka(address: str, topic: str = "sink.test", create: bool = True) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=(address,), topic=topic, create_topic=create, partitions=3)


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """A broker that a test may stop."""
    broker = EmbeddedBroker(port=free_port()).start()
    yield broker
    broker.stop()


@pytest.fixture
async def sink(broker: str) -> AsyncIterator[KafkaSink]:
    made = KafkaSink(kafka(broker), (broker,))
    made.start()
    await until(lambda: made.connected)
    yield made
    await made.close()


async def test_what_was_acknowledged_an_independent_client_reads_in_order(sink: KafkaSink, broker: str):
    sent = [record(f"f{number}") for number in range(50)]
    acknowledged = await asyncio.gather(*(sink.send(one) for one in sent))
    assert len({one.partition for one in acknowledged}) == 1
    assert [one.offset for one in acknowledged] == sorted(one.offset for one in acknowledged)
    reader = TopicReader(broker, "sink.test")
    read = await asyncio.to_thread(reader.read, lambda records: len(records) >= 50)
    reader.close()
    assert [one.value["frame_id"] for one in read if one.key == "cam"] == [f"f{number}" for number in range(50)]
    assert read[0].timestamp_ms == sent[0].timestamp_ms
    assert read[0].headers["ce_type"] == "sightline.detection.v1"


async def test_our_own_follower_reads_them_too(sink: KafkaSink, broker: str):
    await sink.send(record("followed", camera="followed"))
    with TopicFollower(kafka(broker), (broker,), from_beginning=True) as follower:
        found = []
        async with asyncio.timeout(20):
            while not any(one.camera_id == "followed" for one in found):
                found += await asyncio.to_thread(follower.poll)


async def test_an_event_too_large_for_kafka_is_refused_and_the_next_goes_through(sink: KafkaSink):
    with pytest.raises(DeliveryRefused):
        await sink.send(record("large", label="x" * 2_000_000))
    await sink.send(record("small"))


async def test_a_missing_topic_that_may_not_be_created_is_told_by_name(broker: str):
    sink = KafkaSink(kafka(broker, topic="nowhere", create=False), (broker,))
    sink.start()
    await until(lambda: "nowhere" in sink.trouble)
    with pytest.raises(DeliveryUnavailable, match=r"'nowhere' does not exist.*create_topic"):
        await sink.send(record("a"))
    await sink.close()


async def test_it_comes_up_without_a_broker_and_connects_when_one_comes():
    port = free_port()
    address = f"127.0.0.1:{port}"
    sink = KafkaSink(kafka(address), (address,))
    sink.start()
    await until(lambda: "answers" in sink.trouble)
    with pytest.raises(DeliveryUnavailable):
        await sink.send(record("a"))
    with EmbeddedBroker(port=port):
        await until(lambda: sink.connected, 60)
        await sink.send(record("b"))
        await sink.close()


async def test_a_broker_that_goes_away_fails_what_waits_in_bounded_time_and_is_used_again_when_back(
    own_broker: EmbeddedBroker,
):
    address = own_broker.address
    sink = KafkaSink(kafka(address), (address,))
    sink.start()
    await until(lambda: sink.connected)
    await sink.send(record("before"))
    await asyncio.to_thread(own_broker.stop)
    async with asyncio.timeout(30):
        with pytest.raises(DeliveryUnavailable):
            await sink.send(record("lost"))
    with EmbeddedBroker(port=int(address.rsplit(":", 1)[1])):
        await until(lambda: sink.connected, 60)
        await sink.send(record("after"))
        await sink.close()


async def test_closing_a_sink_that_never_connected_ends_at_once():
    address = f"127.0.0.1:{free_port()}"
    sink = KafkaSink(kafka(address), (address,))
    sink.start()
    async with asyncio.timeout(15):
        await sink.close()
