"""Events over TLS, to a broker that asks for a client certificate."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.event import DetectionEvent, StageLatencies
from app.core.ports import free_port
from app.publisher import make_record
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.certificates import Authority, Pair
from tests.support.waiting import until

TOPIC = "tls.test"


@dataclass
class Listener:
    """TLS before a broker that speaks none."""

    address: str
    broker: str
    handshakes: int = 0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
async def listener(authority: Authority) -> AsyncIterator[Listener]:
    port = free_port()
    pair = authority.issue("broker")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with EmbeddedBroker(port=free_port(), advertised=f"127.0.0.1:{port}") as broker:
        made = Listener(f"127.0.0.1:{port}", broker.address)
        pumps: set[asyncio.Task[None]] = set()

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            finally:
                writer.close()

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.handshakes += 1
            far_reader, far_writer = await asyncio.open_connection(*broker.address.split(":"))
            for ends in ((reader, far_writer), (far_reader, writer)):
                pumps.add(asyncio.create_task(pump(*ends)))

        server = await asyncio.start_server(connect, "127.0.0.1", port, ssl=context)
        yield made
        server.close()
        for one in pumps:
            one.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def secured(listener: Listener, cafile: Path, client: Pair | None) -> KafkaSink:
    settings = KafkaSettings(
        bootstrap_servers=(listener.address,),
        topic=TOPIC,
        create_topic=True,
        partitions=2,
        security_protocol="SSL",
        ssl_cafile=cafile,
        ssl_certfile=client.certificate if client else None,
        ssl_keyfile=client.key if client else None,
    )

    async def brokers() -> tuple[str, ...]:
        return (listener.address,)

    return KafkaSink(settings, brokers)


def event() -> DetectionEvent:
    return DetectionEvent("cam", "f", time.time_ns(), 640, 360, "m.pt", (), StageLatencies(1, 1, 1, 1, 1))


async def test_events_reach_a_broker_that_asks_for_tls_and_a_client_certificate(
    listener: Listener, authority: Authority
):
    sink = secured(listener, authority.certificate, authority.issue("publisher"))
    sink.start()
    await until(lambda: sink.connected)
    await sink.send(make_record(event(), total_ms=1.0))
    await sink.close()
    assert listener.handshakes > 0


async def test_a_publisher_without_a_certificate_or_with_another_authority_does_not_get_through(
    listener: Listener, authority: Authority, tmp_path: Path
):
    strange = Authority(tmp_path / "theirs")
    for sink in (
        secured(listener, authority.certificate, None),
        secured(listener, strange.certificate, authority.issue("publisher")),
    ):
        sink.start()
        await until(lambda sink=sink: bool(sink.trouble))
        assert not sink.connected
        await sink.close()
