"""Incidents and objects at a real broker: topics of their own, however often the publisher is killed meanwhile."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from app.core.ports import free_port
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.mortal_publishers import kafka_sinks, mortal_publishers
from tests.support.street import FPS, INTRUSION, LINE, running_street
from tests.support.topic import Record, TopicReader

PASS = 14 * FPS


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
