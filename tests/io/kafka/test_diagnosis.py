"""What is said where Kafka cannot be used: one sentence for each trouble, against the listeners of Apache Kafka."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.ports import free_port
from app.errors import DeliveryUnavailable
from app.publisher.kafka.connection import ensure_topic
from app.publisher.kafka.diagnosis import diagnose
from app.publisher.kafka.preflight import check_broker
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka, Listener, require_apache_kafka
from tests.support.certificates import Authority

JAAS = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_ann="secret" ;'


@dataclass(frozen=True)
class Cluster:
    kafka: ApacheKafka
    authority: Authority
    stranger: Authority

    def address(self, listener: str) -> str:
        return self.kafka.brokers[0].address(listener)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One broker with a listener of each kind, and one that advertises an address where nobody listens."""
    require_apache_kafka()
    folder = tmp_path_factory.mktemp("diagnosis")
    authority, stranger = Authority(folder / "ours"), Authority(folder / "theirs", "another authority")
    pair = authority.issue("broker")
    store = folder / "broker-store.pem"
    store.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    listeners = [
        Listener("SASL", "SASL_PLAINTEXT", {"sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": JAAS}),
        Listener("TLS", "SSL", {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(store)}),
        Listener("LOST", "PLAINTEXT"),
    ]
    advertised = {(1, "LOST"): f"127.0.0.1:{free_port()}"}
    with ApacheKafka(folder / "cluster", listeners=listeners, advertised=advertised) as kafka:
        kafka.create_topic("events")
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


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_has_its_sentence(cluster: Cluster, trouble: str):
    listener, protocol, sasl, expected = TROUBLES[trouble]
    asked = settings(cluster.address(listener), protocol, cluster.authority.certificate, **sasl)
    with pytest.raises(DeliveryUnavailable, match=expected) as raised:
        ensure_topic(asked, asked.bootstrap_servers, create=False)
    assert "\n" not in str(raised.value)
    assert "hush" not in str(raised.value)


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
    assert ensure_topic(asked, asked.bootstrap_servers, create=False) == 1


def test_a_dead_address_among_several_is_named(cluster: Cluster):
    dead = f"127.0.0.1:{free_port()}"
    asked = settings(cluster.address("PLAINTEXT")).model_copy(
        update={"bootstrap_servers": (dead, cluster.address("PLAINTEXT"))}
    )
    said = check_broker(asked)
    assert said.endswith(f"; but nothing listens on {dead}")
    assert "topic events has 1 partitions" in said


async def test_a_certificate_for_another_host_name_is_named_as_that(tmp_path: Path):
    authority = Authority(tmp_path / "ours")
    pair = authority.issue("broker")  # for 127.0.0.1, not for 127.0.0.2
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.2", 0, ssl=context) as server:
        address = f"127.0.0.2:{server.sockets[0].getsockname()[1]}"
        said = await asyncio.to_thread(diagnose, settings(address, "SSL", authority.certificate), (address,))
    assert said == f"the certificate of {address} is for another host name: reach it by a name in the certificate"


def test_an_unknown_host_and_a_port_where_nobody_listens_are_told_apart():
    dead = f"127.0.0.1:{free_port()}"
    assert diagnose(settings(dead), (dead,)) == f"nothing listens on {dead}"
    assert (
        diagnose(settings(dead), ("no-such-host.invalid:9092",)) == "the host name 'no-such-host.invalid' is not known"
    )
