"""The sink against a real broker: what an acknowledgement means, and what happens when the broker is away."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.core.ports import free_port
from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher import make_record
from app.publisher.kafka.diagnosis import first_to_answer
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from app.publisher.kafka.follower import ReceivedEvent, TopicFollower
from app.publisher.kafka.sink import KafkaSink
from app.publisher.kafka.timeouts import Timeouts
from app.settings.connections import KafkaSettings
from tests.support.topic import TopicReader
from tests.support.waiting import until

BRIEF = Timeouts(bootstrap_ms=500, request_ms=600, delivery_ms=1_200, metadata_ms=500)
"""The broker is on this machine: what has not answered by then is away."""


def record(frame: str, camera: str = "cam", label: str = "car"):
    event = DetectionEvent(
        camera_id=camera,
        frame_id=frame,
        captured_at_ns=time.time_ns(),
        width=640,
        height=360,
        model="m.pt",
        objects=(DetectedObject(label, 2, 0.9, (1.0, 2.0, 3.0, 4.0)),),
        latency=StageLatencies(1, 1, 1, 1, 1),
    )
    return make_record(event, total_ms=5.0)


def kafka(address: str, topic: str = "sink.test", create: bool = True) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=(address,), topic=topic, create_topic=create, partitions=3)


def at(*brokers: str) -> Callable[[], Awaitable[tuple[str, ...]]]:
    """Return what tells a sink where its brokers are."""

    async def find() -> tuple[str, ...]:
        return brokers

    return find


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """A broker that a test may stop."""
    broker = EmbeddedBroker(port=free_port()).start()
    yield broker
    broker.stop()


@pytest.fixture
async def sink(broker: str) -> AsyncIterator[KafkaSink]:
    made = KafkaSink(kafka(broker), at(broker))
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
    sent = [record(f"f{number}", camera="followed") for number in range(3)]
    placed = [await sink.send(one) for one in sent]
    found: list[ReceivedEvent] = []
    with TopicFollower(kafka(broker), (broker,), from_beginning=True) as follower:
        async with asyncio.timeout(20):
            while len(found) < len(sent):
                found += [one for one in await asyncio.to_thread(follower.poll) if one.camera_id == "followed"]
    assert [one.value for one in found] == [one.value for one in sent]
    assert [(one.partition, one.offset) for one in found] == [(one.partition, one.offset) for one in placed]


async def test_an_event_too_large_for_kafka_is_refused_and_the_next_goes_through(sink: KafkaSink):
    with pytest.raises(DeliveryRefused):
        await sink.send(record("large", label="x" * 2_000_000))
    await sink.send(record("small"))


async def test_a_missing_topic_that_may_not_be_created_is_reported_by_name(broker: str):
    sink = KafkaSink(kafka(broker, topic="nowhere", create=False), at(broker))
    sink.start()
    await until(lambda: "nowhere" in sink.trouble)
    with pytest.raises(DeliveryUnavailable, match=r"'nowhere' does not exist.*create_topic"):
        await sink.send(record("a"))
    await sink.close()


@pytest.mark.idle
async def test_it_comes_up_without_a_broker_and_connects_when_one_comes():
    port = free_port()
    address = f"127.0.0.1:{port}"
    sink = KafkaSink(kafka(address), at(address), BRIEF)
    sink.start()
    await until(lambda: sink.trouble == f"nothing listens on {address}")
    with pytest.raises(DeliveryUnavailable):
        await sink.send(record("a"))
    with EmbeddedBroker(port=port):
        await until(lambda: sink.connected, 60)
        await sink.send(record("b"))
        await sink.close()


@pytest.mark.idle
async def test_a_broker_that_goes_away_fails_what_waits_in_bounded_time_and_is_used_again_when_back():
    with EmbeddedBroker(port=free_port()) as first:
        address = first.address
        sink = KafkaSink(kafka(address), at(address), BRIEF)
        sink.start()
        await until(lambda: sink.connected)
        await sink.send(record("before"))
    async with asyncio.timeout(30):
        with pytest.raises(DeliveryUnavailable):
            await sink.send(record("lost"))
    with EmbeddedBroker(port=int(address.rsplit(":", 1)[1])):
        await until(lambda: sink.connected, 60)
        await sink.send(record("after"))
        await sink.close()


async def test_closing_a_sink_that_never_connected_ends_at_once():
    address = f"127.0.0.1:{free_port()}"
    sink = KafkaSink(kafka(address), at(address))
    sink.start()
    async with asyncio.timeout(15):
        await sink.close()


async def halt(broker: EmbeddedBroker) -> None:
    """Halt a broker's process; return when each of its threads stands still, as a signal takes a moment."""
    os.kill(broker.pid, signal.SIGSTOP)
    threads = Path(f"/proc/{broker.pid}/task")
    await until(
        lambda: all((one / "stat").read_text().rpartition(")")[2].split()[0] == "T" for one in threads.iterdir())
    )


async def connected(settings: KafkaSettings, timeouts: Timeouts = Timeouts()) -> KafkaSink:  # noqa: B008 - it is frozen
    made = KafkaSink(settings, at(*settings.bootstrap_servers), timeouts)
    made.start()
    await until(lambda: made.connected)
    return made


def network_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.endswith("-network-thread")]


async def test_a_broker_that_hangs_fails_all_that_waits_in_bounded_time_and_order_holds_when_it_is_back(
    own_broker: EmbeddedBroker,
):
    before = len(network_threads())
    sink = await connected(kafka(own_broker.address), Timeouts(bootstrap_ms=1_000, request_ms=2_000, delivery_ms=3_000))
    await sink.send(record("0"))
    await halt(own_broker)
    start = time.monotonic()
    first = [asyncio.ensure_future(sink.send(record(str(number)))) for number in (1, 2)]
    await asyncio.wait(first, timeout=2)
    later = asyncio.ensure_future(sink.send(record("3")))
    outcomes = await asyncio.gather(*first, later, return_exceptions=True)
    assert time.monotonic() - start < 20
    assert [outcome for outcome in outcomes if not isinstance(outcome, DeliveryUnavailable)] == []
    assert all("\n" not in str(outcome) for outcome in outcomes)
    with pytest.raises(DeliveryUnavailable):
        await asyncio.wait_for(sink.send(record("4")), 1)

    os.kill(own_broker.pid, signal.SIGCONT)
    back = time.monotonic()
    await until(lambda: sink.connected)
    assert time.monotonic() - back < 20
    acknowledged = [await sink.send(record(str(number))) for number in (5, 6)]
    assert acknowledged[0].offset < acknowledged[1].offset
    # The producer that was given up is gone: it would otherwise go on sending what has been reported as failed.
    await until(lambda: len(network_threads()) == before + 1)
    await sink.close()
    assert len(network_threads()) == before
    reader = TopicReader(own_broker.address, "sink.test")
    read = await asyncio.to_thread(reader.read, lambda records: any(one.value["frame_id"] == "6" for one in records))
    reader.close()
    frames = [one.value["frame_id"] for one in read]
    assert frames[0] == "0"
    assert [frame for frame in frames if frame in ("5", "6")] == ["5", "6"]


async def test_closing_fails_what_a_broker_that_hangs_has_not_acknowledged(own_broker: EmbeddedBroker):
    sink = await connected(kafka(own_broker.address))
    await halt(own_broker)
    waiting = [asyncio.ensure_future(sink.send(record(str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    async with asyncio.timeout(9):
        await sink.close(timeout_s=0.5)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, DeliveryUnavailable) for outcome in outcomes)
    with pytest.raises(DeliveryUnavailable, match="closed"):
        await sink.send(record("after"))
    os.kill(own_broker.pid, signal.SIGCONT)


async def test_until_the_first_connection_the_trouble_says_whose_answer_is_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        sink = KafkaSink(kafka(address), at(address), BRIEF)
        assert sink.trouble == "waiting for the first answer of Kafka"
        sink.start()
        await until(lambda: sink.trouble == f"waiting for the first answer of Kafka on {address}")
        await sink.close()


async def test_an_embedded_broker_that_is_looked_for_is_what_is_waited_for_and_an_unforeseen_failure_is_tried_again(
    broker: str,
):
    tries: list[int] = []

    async def find() -> tuple[str, ...]:
        tries.append(len(tries))
        if len(tries) == 1:
            raise RuntimeError("the cluster's head\nis away")
        return (broker,)

    sink = KafkaSink(KafkaSettings(topic="sink.unforeseen"), find)
    assert sink.trouble == "waiting for the embedded broker to start"
    sink.start()
    await until(lambda: "is away" in sink.trouble)
    assert "\n" not in sink.trouble
    await until(lambda: sink.connected)
    await sink.close()


async def test_of_several_addresses_one_that_never_answers_is_not_waited_for(broker: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = kafka(broker)
        assert await asyncio.to_thread(first_to_answer, settings, (address, broker)) == (broker,)
        assert await asyncio.to_thread(first_to_answer, settings, (address,)) == (address,)


async def test_a_missing_topic_is_never_created_by_asking_for_it(broker: str):
    sink = KafkaSink(kafka(broker, topic="not.created", create=False), at(broker))
    sink.start()
    await until(lambda: "not.created" in sink.trouble)
    await sink.close()
    assert "not.created" not in AdminClient({"bootstrap.servers": broker}).list_topics(timeout=10).topics


async def test_a_topic_has_the_partitions_that_were_asked_for_and_two_may_create_it_at_once(broker: str):
    settings = kafka(broker, topic="created.twice")
    sinks = await asyncio.gather(connected(settings), connected(settings))
    topics = AdminClient({"bootstrap.servers": broker}).list_topics(timeout=10).topics
    assert len(topics["created.twice"].partitions) == 3
    for sink in sinks:
        await sink.close()


@contextlib.contextmanager
def logged() -> Iterator[io.StringIO]:
    """Return what is logged meanwhile."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    try:
        yield text
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.mark.idle
async def test_credentials_that_do_not_fit_are_reported_in_a_line_without_the_password(broker: str):
    settings = KafkaSettings(
        bootstrap_servers=(broker,),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="viewer",
        sasl_password="hush-hush",
    )
    with logged() as log:
        sink = KafkaSink(settings, at(broker))
        sink.start()
        await until(lambda: not sink.trouble.startswith("waiting for"))
        trouble = sink.trouble
        await sink.close()
    assert "\n" not in trouble
    assert trouble in log.getvalue()
    assert "hush-hush" not in trouble + log.getvalue()


async def test_a_follower_from_now_on_sees_what_is_written_after_it_was_made_and_nothing_before(
    sink: KafkaSink, broker: str
):
    await sink.send(record("before", camera="now"))
    with TopicFollower(kafka(broker), (broker,)) as follower:
        sent = record("after", camera="now")
        placed = await sink.send(sent)
        found = []
        async with asyncio.timeout(20):
            while not found:
                found += [one for one in await asyncio.to_thread(follower.poll) if one.camera_id == "now"]
    assert [one.value for one in found] == [sent.value]
    assert (found[0].key, found[0].headers, found[0].timestamp_ms) == (b"now", sent.headers, sent.timestamp_ms)
    assert (found[0].partition, found[0].offset) == (placed.partition, placed.offset)


@pytest.mark.idle
async def test_a_follower_waits_for_a_broker_that_is_away_and_ends_when_it_is_reported():
    with EmbeddedBroker(port=free_port()) as broker:
        settings = kafka(broker.address)
        sink = await connected(settings)
        with TopicFollower(settings, settings.bootstrap_servers) as follower:
            found: list[bytes] = []
            reading = asyncio.create_task(asyncio.to_thread(lambda: found.extend(one.value for one in follower)))
            await halt(broker)
            waiting = asyncio.ensure_future(sink.send(record("while away")))
            await asyncio.wait([waiting, reading], timeout=1.5)
            assert not reading.done()
            os.kill(broker.pid, signal.SIGCONT)
            await waiting
            await until(lambda: found)
            await asyncio.to_thread(broker.stop)
            assert await asyncio.to_thread(follower.poll) == []
            follower.stop()
            async with asyncio.timeout(10):
                await reading
        await sink.close()


@pytest.mark.idle
async def test_a_broker_that_comes_back_elsewhere_is_found_there():
    address = [""]

    async def find() -> tuple[str, ...]:
        return (address[0],)

    with EmbeddedBroker(port=free_port()) as first:
        address[0] = first.address
        sink = KafkaSink(kafka(first.address), find, BRIEF)
        sink.start()
        await until(lambda: sink.connected)
        await sink.send(record("first"))
    with EmbeddedBroker(port=free_port()) as second:
        address[0] = second.address
        with pytest.raises(DeliveryUnavailable):
            await sink.send(record("lost"))
        await until(lambda: sink.connected)
        await sink.send(record("second"))
        reader = TopicReader(second.address, "sink.test")
        read = await asyncio.to_thread(reader.read, lambda records: bool(records))
        reader.close()
        await sink.close()
    assert [one.value["frame_id"] for one in read] == ["second"]
