"""A backlog on its way to a far Apache Kafka over a connection that is cut again and again: all arrives, in order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.publisher import EventPublisher, Spool, SpoolOptions, SpoolWriter, Submission
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka
from tests.support.delaying_proxy import DelayingProxy
from tests.support.kafka_broker import Listener
from tests.support.kafka_distribution import require_apache_kafka
from tests.support.scripted_broker import ScriptedBroker
from tests.support.silent_observer import SilentObserver
from tests.support.tcp_proxy import TcpProxy
from tests.support.topic import TopicReader

CAMERAS = 3


def event(camera: str, number: int) -> DetectionEvent:
    objects = tuple(DetectedObject("car", 2, 0.9, (1.0, 2.0, 3.0, 4.0)) for _ in range(6))
    return DetectionEvent(
        camera, f"{number:05}", time.time_ns(), 640, 360, "m.pt", objects, StageLatencies(1, 1, 1, 1, 1)
    )


async def publish_through_cuts(proxy: TcpProxy, topic: str, folder: Path, fault: str, each: int) -> None:
    """Publish so many events of each camera over a connection that is cut three times in the middle of them."""

    async def find() -> tuple[str, ...]:
        return (proxy.address,)

    sink = KafkaSink(KafkaSettings(bootstrap_servers=(proxy.address,), topic=topic), find)
    writer = SpoolWriter(lambda: Spool(SpoolOptions(folder)))
    publisher = EventPublisher(sink, writer, budget_ms=200, observer=SilentObserver())
    publisher.start()
    for first in range(0, each, 50):
        await asyncio.gather(
            *(
                publisher.publish(Submission(event(f"cam-{camera}", number), 1, number + 1))
                for number in range(first, first + 50)
                for camera in range(CAMERAS)
            )
        )
    sink.start()
    async with asyncio.timeout(120):
        for part in (1, 2, 3):  # in the middle of what is on its way
            while publisher.snapshot().published < part * CAMERAS * each // 4:
                await asyncio.sleep(0.002)
            getattr(proxy, fault)()
            await asyncio.sleep(0.3)
            proxy.mend()
        while publisher.snapshot().spooled:
            await asyncio.sleep(0.01)
    assert publisher.snapshot().quarantined == 0
    await publisher.close()
    await sink.close()


def check_order(values: Iterable[Mapping[str, Any]], each: int) -> None:
    """Check that each camera's events are all there, and first in order."""
    frames: dict[str, dict[str, None]] = {}
    for value in values:
        frames.setdefault(value["camera_id"], {})[value["frame_id"]] = None
    wanted = [f"{number:05}" for number in range(each)]
    assert {camera: list(found) for camera, found in frames.items()} == {
        f"cam-{camera}": wanted for camera in range(CAMERAS)
    }


FAULTS = pytest.mark.parametrize("fault", ["cut", "swallow_answers"])


@pytest.mark.slow
@FAULTS
async def test_whatever_is_cut_on_the_way_everything_arrives_and_each_camera_s_events_first_arrive_in_order(
    tmp_path: Path, fault: str
):
    require_apache_kafka()
    with DelayingProxy(0.01) as far, TcpProxy("127.0.0.1", far.port) as proxy:
        far_listener = Listener("FAR", "PLAINTEXT")
        advertised = {(1, "FAR"): proxy.address}
        with ApacheKafka(tmp_path / "cluster", listeners=[far_listener], advertised=advertised) as kafka:
            far.target = kafka.brokers[0].port("FAR")
            kafka.create_topic("events", partitions=2)
            await publish_through_cuts(proxy, "events", tmp_path / "spool", fault, 1_500)
            reader = TopicReader(kafka.bootstrap[0], "events")
            records = await asyncio.to_thread(reader.read_all)
            reader.close()
    check_order((one.value for one in records), 1_500)


@FAULTS
async def test_over_a_connection_that_is_cut_a_broker_that_checks_each_number_gets_everything_in_order(
    tmp_path: Path, fault: str
):
    broker = ScriptedBroker("events", lambda values: None)
    async with broker:
        with DelayingProxy(0.01) as far, TcpProxy("127.0.0.1", far.port) as proxy:
            far.target, broker.advertised = broker.port, proxy.port
            await publish_through_cuts(proxy, "events", tmp_path / "spool", fault, 200)
    check_order((json.loads(value) for log in broker.logs.values() for value in log), 200)
