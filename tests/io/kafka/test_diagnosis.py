"""What is said where Kafka cannot be used: one sentence for each trouble, against the listeners of Apache Kafka."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation

from app.core.ports import free_port
from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher import EventRecord
from app.publisher.kafka.connection import ensure_topic
from app.publisher.kafka.diagnosis import diagnose
from app.publisher.kafka.preflight import Needs, check_broker
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka
from tests.support.certificates import Authority
from tests.support.kafka_broker import Listener
from tests.support.kafka_distribution import require_apache_kafka

USERS = ("ann", "dan", "eve", "bob")
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required {} ;".format(
    " ".join(f'user_{name}="secret"' for name in USERS)
)
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
NEEDS = Needs(detections=300, bridged=timedelta(days=2))


@dataclass(frozen=True)
class Cluster:
    kafka: ApacheKafka
    authority: Authority
    stranger: Authority

    def address(self, listener: str) -> str:
        return self.kafka.brokers[0].address(listener)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One broker with ACLs and a listener of each kind, one of which advertises an address where nobody listens.

    Of the users ann may write to ``events`` and read its settings, dan only write, eve only describe it, bob nothing.
    """
    require_apache_kafka()
    folder = tmp_path_factory.mktemp("diagnosis")
    authority, stranger = Authority(folder / "ours"), Authority(folder / "theirs", "another authority")
    pair = authority.issue("broker")
    store = folder / "broker-store.pem"
    store.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    listeners = [
        Listener("SASL", "SASL_PLAINTEXT", {"sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": JAAS}),
        Listener("TLS", "SSL", {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(store)}),
        Listener(
            "MUTUAL",
            "SSL",
            {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(store),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(authority.certificate),
                "ssl.client.auth": "required",
            },
        ),
        Listener("LOST", "PLAINTEXT"),
    ]
    advertised = {(1, "LOST"): f"127.0.0.1:{free_port()}"}
    with ApacheKafka(folder / "cluster", properties=AUTHORIZER, listeners=listeners, advertised=advertised) as kafka:
        kafka.create_topic("events")
        for operation in (AclOperation.WRITE, AclOperation.DESCRIBE_CONFIGS):
            kafka.allow("User:ann", operation, "events")
        kafka.allow("User:dan", AclOperation.WRITE, "events")
        for topic in ("events", "missing"):
            kafka.allow("User:eve", AclOperation.DESCRIBE, topic)
        yield Cluster(kafka, authority, stranger)


def settings(address: str, protocol: str = "PLAINTEXT", cafile: Path | None = None, **sasl: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=(address,), topic="events", security_protocol=protocol, ssl_cafile=cafile, **sasl
    )


PLAIN = {"sasl_mechanism": "PLAIN", "sasl_username": "ann", "sasl_password": "secret"}
TROUBLES = {
    "wrong password": (
        "SASL",
        "SASL_PLAINTEXT",
        PLAIN | {"sasl_password": "hush"},
        r"refuses the credentials of user 'ann'",
    ),
    "mechanism not enabled": (
        "SASL",
        "SASL_PLAINTEXT",
        PLAIN | {"sasl_mechanism": "SCRAM-SHA-512"},
        r"the mechanism SCRAM-SHA-512 is not enabled at .*; enabled: PLAIN",
    ),
    "no credentials": ("SASL", "PLAINTEXT", {}, r"asks for credentials \(PLAIN are enabled\): .*SASL_PLAINTEXT"),
    "credentials that nobody asks for": (
        "PLAINTEXT",
        "SASL_PLAINTEXT",
        PLAIN,
        r"takes no credentials: .* to PLAINTEXT",
    ),
    "TLS to a plain listener": ("PLAINTEXT", "SSL", {}, r"does not speak TLS: .* to PLAINTEXT"),
    "TLS to a plain listener with SASL": ("SASL", "SASL_SSL", PLAIN, r"does not speak TLS: .* to SASL_PLAINTEXT"),
    "plain to a TLS listener": ("TLS", "PLAINTEXT", {}, r"speaks TLS: set KAFKA_SECURITY_PROTOCOL to SSL"),
    "an advertised address that is not there": (
        "LOST",
        "PLAINTEXT",
        {},
        r"advertises its broker 1 as 127.0.0.1:\d+, which cannot be reached \(nothing listens .*advertised\.listeners",
    ),
}


@pytest.mark.idle
@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_has_its_sentence(cluster: Cluster, trouble: str):
    listener, protocol, sasl, expected = TROUBLES[trouble]
    asked = settings(cluster.address(listener), protocol, cluster.authority.certificate, **sasl)
    with pytest.raises(DeliveryUnavailable, match=expected) as raised:
        ensure_topic(asked, asked.bootstrap_servers, create=False)
    assert "\n" not in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.idle
def test_a_certificate_of_an_authority_that_is_not_trusted_is_named_as_that(cluster: Cluster):
    asked = settings(cluster.address("TLS"), "SSL", cluster.stranger.certificate)
    with pytest.raises(DeliveryUnavailable, match=r"is not trusted .*KAFKA_SSL_CAFILE"):
        ensure_topic(asked, asked.bootstrap_servers, create=False)


@pytest.mark.parametrize(
    ("listener", "protocol", "sasl"),
    [("PLAINTEXT", "PLAINTEXT", {}), ("TLS", "SSL", {}), ("SASL", "SASL_PLAINTEXT", PLAIN)],
)
def test_where_nothing_is_wrong_nothing_is_said(cluster: Cluster, listener: str, protocol: str, sasl: dict[str, str]):
    asked = settings(cluster.address(listener), protocol, cluster.authority.certificate, **sasl)
    assert diagnose(asked, asked.bootstrap_servers) == ""
    assert ensure_topic(asked, asked.bootstrap_servers, create=False).partitions == 1


def test_a_dead_address_among_several_is_named(cluster: Cluster):
    dead = f"127.0.0.1:{free_port()}"
    asked = settings(cluster.address("PLAINTEXT")).model_copy(
        update={"bootstrap_servers": (dead, cluster.address("PLAINTEXT"))}
    )
    report = check_broker(asked, NEEDS)
    assert report.warnings[0] == f"nothing listens on {dead}"
    assert "topic events has 1 partitions" in report.where


def account(cluster: Cluster, user: str, **fields: object) -> KafkaSettings:
    """Return the settings of a user of the listener with passwords."""
    return settings(cluster.address("SASL"), "SASL_PLAINTEXT", **(PLAIN | {"sasl_username": user})).model_copy(
        update=fields
    )


def test_who_may_write_is_reported_and_no_record_is_left_behind(cluster: Cluster):
    report = check_broker(account(cluster, "ann"), NEEDS)
    assert report.where.endswith("topic events has 1 partitions and may be written to")
    assert report.warnings == ("the topic 'events' has one replica: its events are lost with the disk of one broker",)
    assert cluster.kafka.end_offset("events") == 0


@pytest.mark.parametrize(
    ("user", "fields", "right"),
    [
        ("bob", {}, "Describe"),
        ("eve", {}, "Write"),
        ("eve", {"topic": "missing", "create_topic": True}, "Create"),
    ],
)
def test_a_missing_right_is_named_with_the_topic_and_the_user(
    cluster: Cluster, user: str, fields: dict[str, object], right: str
):
    asked = account(cluster, user, **fields)
    with pytest.raises(DeliveryUnavailable) as raised:
        check_broker(asked, NEEDS)
    assert str(raised.value) == (
        f"Kafka denies User:{user} the right {right} on the topic {asked.topic!r}: grant it with an ACL"
    )


def test_settings_that_may_not_be_read_are_reported_as_that(cluster: Cluster):
    report = check_broker(account(cluster, "dan"), NEEDS)
    assert report.warnings[1:] == (
        "the settings of the topic 'events' cannot be read (the right DescribeConfigs on it is missing): retention, "
        "size and cleanup.policy are not checked",
    )


async def test_an_event_that_the_topic_would_delete_at_once_is_set_aside_and_the_next_one_written(cluster: Cluster):
    cluster.kafka.create_topic("brief", config={"retention.ms": "3600000"})
    asked = settings(cluster.address("PLAINTEXT")).model_copy(update={"topic": "brief"})

    async def find() -> tuple[str, ...]:
        return asked.bootstrap_servers

    sink, now_ms = KafkaSink(asked, find), time.time_ns() // 1_000_000
    sink.start()
    async with asyncio.timeout(30):
        while not sink.connected:
            await asyncio.sleep(0.01)
        with pytest.raises(DeliveryRefused, match=r"^the event is 2 h old, and the topic 'brief' by its retention\.ms"):
            await sink.send(EventRecord(b"cam", b"{}", (), now_ms - 7_200_000))
        await sink.send(EventRecord(b"cam", b"{}", (), now_ms))
    await sink.close()
    assert cluster.kafka.end_offset("brief") == 1


async def test_a_publisher_that_may_not_write_says_which_right_is_missing(cluster: Cluster):
    asked = account(cluster, "eve")

    async def find() -> tuple[str, ...]:
        return asked.bootstrap_servers

    sink = KafkaSink(asked, find)
    sink.start()
    async with asyncio.timeout(30):
        while not sink.connected:
            await asyncio.sleep(0.01)
        record = EventRecord(b"cam", b"{}", (), time.time_ns() // 1_000_000)
        with pytest.raises(DeliveryUnavailable, match=r"^Kafka denies User:eve the right \w*Write on the .*'events'"):
            await sink.send(record)
    await sink.close()


def test_settings_of_a_topic_that_would_cost_events_are_reported(cluster: Cluster):
    config = {
        "cleanup.policy": "compact,delete",
        "max.message.bytes": "20000",
        "retention.ms": "3600000",
        "message.timestamp.before.max.ms": "60000",
    }
    cluster.kafka.create_topic("costly", config=config)
    warnings = check_broker(
        settings(cluster.address("PLAINTEXT")).model_copy(update={"topic": "costly"}), NEEDS
    ).warnings
    for part in ("compact,delete", "is 20000, and a frame of 300", "retention.ms .*is 1 h", "before.max.ms .*is 1 min"):
        assert [bool(re.search(part, warning)) for warning in warnings].count(True) == 1, part
    assert len(warnings) == 5


def test_a_listener_that_asks_for_a_client_certificate_is_distinguished_from_one_that_refuses_it(
    cluster: Cluster, tmp_path: Path
):
    address, trusted = cluster.address("MUTUAL"), cluster.authority.certificate
    ours, theirs = cluster.authority.issue("client"), cluster.stranger.issue("client")
    without = settings(address, "SSL", trusted)
    assert re.match(f"^{address} asks for a client certificate .*KAFKA_SSL_CERTFILE", diagnose(without, (address,)))
    wrong = without.model_copy(update={"ssl_certfile": theirs.certificate, "ssl_keyfile": theirs.key})
    assert re.match(f"^{address} does not accept the client certificate", diagnose(wrong, (address,)))
    right = without.model_copy(update={"ssl_certfile": ours.certificate, "ssl_keyfile": ours.key})
    assert diagnose(right, (address,)) == ""


async def test_a_certificate_for_another_host_name_is_named_as_that(tmp_path: Path):
    authority = Authority(tmp_path / "ours")
    pair = authority.issue("broker")  # for 127.0.0.1, not for 127.0.0.2
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.2", 0, ssl=context) as server:
        address = f"127.0.0.2:{server.sockets[0].getsockname()[1]}"
        said = await asyncio.to_thread(diagnose, settings(address, "SSL", authority.certificate), (address,))
    assert said == f"the certificate of {address} is for another host name: reach it by a name in the certificate"


def test_an_unknown_host_and_a_port_where_nobody_listens_are_distinguished():
    dead = f"127.0.0.1:{free_port()}"
    assert diagnose(settings(dead), (dead,)) == f"nothing listens on {dead}"
    assert (
        diagnose(settings(dead), ("no-such-host.invalid:9092",)) == "the host name 'no-such-host.invalid' is not known"
    )
