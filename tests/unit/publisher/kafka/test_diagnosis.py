"""What is said of a peer that is no Kafka broker, or a broken one: each trouble that Apache Kafka does not show."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from kafka import errors

from app.errors import DeliveryUnavailable
from app.publisher.kafka.connection import no_broker, translate
from app.publisher.kafka.diagnosis import TIMEOUT_S, diagnose
from app.publisher.kafka.preflight import Needs
from app.publisher.kafka.topic_check import check_topic
from app.publisher.kafka.troubles import Trouble
from app.settings.connections import KafkaSettings
from tests.support.certificates import Authority
from tests.support.scripted_broker import ScriptedBroker

NEEDS = Needs(detections=300, bridged=timedelta(days=2))
Talk = Callable[[socket.socket], None]
COORDINATOR_NOT_AVAILABLE = 15


@contextlib.contextmanager
def peer(talk: Talk) -> Iterator[str]:
    """Serve each connection by a function, which is given its socket; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), connection:
                    talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)  # it ends accept()
            thread.join(10)


def settings(address: str, protocol: str = "PLAINTEXT", cafile: Path | None = None) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=(address,), topic="events", security_protocol=protocol, ssl_cafile=cafile)


def said(address: str, protocol: str = "PLAINTEXT", cafile: Path | None = None) -> str:
    return diagnose(settings(address, protocol, cafile), (address,))


def answer(connection: socket.socket, body: bytes) -> None:
    """Answer one request, whose correlation id is 1, as all of the diagnosis are."""
    connection.recv(1024)
    connection.sendall(struct.pack(">ii", 4 + len(body), 1) + body)


def as_http(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def knows_no_request(connection: socket.socket) -> None:
    answer(connection, struct.pack(">hi", 0, 0))  # ApiVersions, version 0: no error, no request
    connection.recv(1024)


@pytest.mark.parametrize("talk", [as_http, lambda connection: connection.recv(1024)], ids=["http", "closes"])
def test_another_program_is_named_as_that(talk: Talk):
    with peer(talk) as address:
        assert said(address) == Trouble.NOT_KAFKA.say(peer=address)


def test_an_answer_of_no_known_form_is_named_as_that():
    with peer(lambda connection: answer(connection, b"\x00")) as address:
        assert said(address).startswith(f"{address} gives no answer that can be understood (")


def test_a_connection_that_is_closed_after_the_greeting_is_named_as_that():
    with peer(knows_no_request) as address:
        assert said(address) == Trouble.CLOSED.say(peer=address)


def test_a_network_that_cannot_be_reached_is_named_as_that():
    nowhere = "255.255.255.255:9092"  # to TCP no address of a host
    assert said(nowhere) == Trouble.UNREACHABLE.say(peer=nowhere, why="Network is unreachable")


def test_tls_with_nothing_in_common_is_named_as_that(tmp_path: Path):
    authority = Authority(tmp_path / "ours")
    pair = authority.issue("broker")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA256")  # without forward secrecy, which Python's clients ask for

    def talk(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True).close()

    with peer(talk) as address:
        assert said(address, "SSL", authority.certificate).startswith(f"the TLS handshake with {address} fails (")


@pytest.mark.idle
def test_a_port_that_answers_nothing_is_named_with_the_time_that_was_waited():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
        host, port = full.getsockname()
        for _ in range(3):  # Linux takes one connection more than the backlog; of the next it answers nothing
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((host, port))
        address = f"{host}:{port}"
        assert said(address) == Trouble.NO_ANSWER.say(peer=address, seconds=TIMEOUT_S)


async def test_a_producer_id_that_is_not_given_out_is_reported_before_a_start():
    broker = ScriptedBroker("events", lambda _: None, producer_id_code=COORDINATOR_NOT_AVAILABLE)
    async with broker:
        with pytest.raises(DeliveryUnavailable) as raised:
            await asyncio.to_thread(check_topic, settings(broker.address), NEEDS, 0.3)
    why = errors.CoordinatorNotAvailableError.__name__
    assert str(raised.value) == Trouble.NO_PRODUCER_ID.say(seconds=0.3, why=why)


async def test_where_a_broker_answers_and_the_client_finds_none_its_own_words_are_shown():
    async with ScriptedBroker("events", lambda _: None) as broker:
        asked = settings(broker.address)
        error = await asyncio.to_thread(no_broker, asked, asked.bootstrap_servers, OSError("no file is left"))
    assert str(error) == Trouble.NO_BROKER.say(bootstrap=asked.bootstrap_servers[0], why="OSError: no file is left")


def test_whatever_else_may_pass_says_that_the_event_waits():
    error = translate(errors.KafkaTimeoutError("30 s"), settings("k:9092"))
    assert str(error) == Trouble.NOT_NOW.say(why="KafkaTimeoutError: 30 s")
