"""A backlog on its way to a far Apache Kafka over a connection that is cut again and again: all arrives, in order."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.publisher import EventPublisher, Spool, SpoolOptions, SpoolWriter, Submission
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka, Listener, require_apache_kafka
from tests.support.delaying_proxy import DelayingProxy
from tests.support.tcp_proxy import TcpProxy
from tests.support.topic import TopicReader

CAMERAS, EACH = 3, 1_500


class NoObserver:
    """An observer that keeps nothing."""

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        pass

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        pass


def event(camera: str, number: int) -> DetectionEvent:
    objects = tuple(DetectedObject("car", 2, 0.9, (1.0, 2.0, 3.0, 4.0)) for _ in range(6))
    return DetectionEvent(
        camera, f"{number:05}", time.time_ns(), 640, 360, "m.pt", objects, StageLatencies(1, 1, 1, 1, 1)
    )


@pytest.mark.parametrize("fault", ["cut", "swallow_answers"])
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

            async def find() -> tuple[str, ...]:
                return (proxy.address,)

            sink = KafkaSink(KafkaSettings(bootstrap_servers=(proxy.address,), topic="events"), find)
            writer = SpoolWriter(lambda: Spool(SpoolOptions(tmp_path / "spool")))
            publisher = EventPublisher(sink, writer, budget_ms=200, observer=NoObserver())
            publisher.start()
            sink.start()
            for first in range(0, EACH, 50):
                await asyncio.gather(
                    *(
                        publisher.publish(Submission(event(f"cam-{camera}", number), 1, number + 1))
                        for number in range(first, first + 50)
                        for camera in range(CAMERAS)
                    )
                )
            async with asyncio.timeout(120):
                for part in (1, 2, 3):  # in the middle of what is on its way
                    while publisher.snapshot().published < part * CAMERAS * EACH // 4:
                        await asyncio.sleep(0.002)
                    getattr(proxy, fault)()
                    await asyncio.sleep(0.3)
                    proxy.mend()
                while publisher.snapshot().spooled:
                    await asyncio.sleep(0.01)
            assert publisher.snapshot().quarantined == 0
            await publisher.close()
            await sink.close()
            reader = TopicReader(kafka.bootstrap[0], "events")

            arrived: set[tuple[str, str]] = set()

            def complete(records) -> bool:
                arrived.update((one.key, one.value["frame_id"]) for one in records[-1:])
                return len(arrived) == CAMERAS * EACH

            records = await asyncio.to_thread(reader.read, complete)
            reader.close()
    for camera in range(CAMERAS):
        frames = list(dict.fromkeys(one.value["frame_id"] for one in records if one.key == f"cam-{camera}"))
        assert frames == [f"{number:05}" for number in range(EACH)]
