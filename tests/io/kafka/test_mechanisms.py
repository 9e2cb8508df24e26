"""SASL mechanisms before Apache Kafka itself: SCRAM names of any character, and tokens that its validator checks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.errors import DeliveryUnavailable
from app.publisher import EventRecord
from app.publisher.kafka.connection import ensure_topic
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka
from tests.support.certificates import Authority
from tests.support.kafka_broker import Listener
from tests.support.kafka_distribution import require_apache_kafka
from tests.support.token_server import AUDIENCE, ISSUER, TokenServer

pytestmark = pytest.mark.slow

MODULES = "org.apache.kafka.common.security"
SESSION_S = 2.0
"""How long a connection lasts until its client has to authenticate again."""


@dataclass(frozen=True)
class Cluster:
    kafka: ApacheKafka
    tokens: TokenServer
    authority: Authority

    def settings(self, listener: str, protocol: str, **fields: object) -> KafkaSettings:
        address = self.kafka.brokers[0].address(listener)
        return KafkaSettings(
            bootstrap_servers=(address,),
            topic="events",
            security_protocol=protocol,
            ssl_cafile=self.authority.certificate,
            **fields,
        )

    def by_token(self, **fields: object) -> KafkaSettings:
        given = {
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauth_token_url": self.tokens.url,
            "sasl_oauth_client_id": self.tokens.client,
            "sasl_oauth_client_secret": self.tokens.secret,
            "sasl_oauth_scope": "kafka",  # without one Kafka refuses a token before it looks at the signature
        }
        return self.settings("OAUTH", "SASL_SSL", **(given | fields))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require_apache_kafka()
    folder = tmp_path_factory.mktemp("mechanisms")
    authority = Authority(folder / "ours")
    pair, login = authority.issue("broker"), authority.issue("login")
    store = folder / "broker-store.pem"
    store.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    tls = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(store)}
    with TokenServer(pair=login) as tokens:
        # For the key set's address; with any option Kafka wants a subject for a token of the broker's own.
        options = f'ssl.truststore.type="PEM" ssl.truststore.location="{authority.certificate}"'
        options += ' unsecuredLoginStringClaim_sub="broker"'
        oauth = {
            "sasl.enabled.mechanisms": "OAUTHBEARER",
            "oauthbearer.sasl.jaas.config": f"{MODULES}.oauthbearer.OAuthBearerLoginModule required {options};",
            "oauthbearer.sasl.server.callback.handler.class": (
                f"{MODULES}.oauthbearer.OAuthBearerValidatorCallbackHandler"
            ),
            "oauthbearer.connections.max.reauth.ms": f"{SESSION_S * 1000:.0f}",
        }
        scram = {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "scram-sha-512.sasl.jaas.config": f"{MODULES}.scram.ScramLoginModule required ;",
        }
        checks = {
            # The default of 4.1.1, DefaultJwtValidator, is made without the keys here, and takes any signature.
            "sasl.oauthbearer.jwt.validator.class": f"{MODULES}.oauthbearer.BrokerJwtValidator",
            "sasl.oauthbearer.jwks.endpoint.url": tokens.jwks_url,
            "sasl.oauthbearer.expected.issuer": ISSUER,
            "sasl.oauthbearer.expected.audience": AUDIENCE,
        }
        with ApacheKafka(
            folder / "cluster",
            properties=checks,
            listeners=[Listener("OAUTH", "SASL_SSL", oauth | tls), Listener("SCRAM", "SASL_SSL", scram | tls)],
            jvm=[f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.jwks_url}"],
        ) as kafka:
            kafka.create_topic("events")
            yield Cluster(kafka, tokens, authority)


async def publish(settings: KafkaSettings, seconds: float) -> int:
    """Publish one event after the other for so long; return how many were acknowledged."""

    async def find() -> tuple[str, ...]:
        return settings.bootstrap_servers

    sink = KafkaSink(settings, find)
    sink.start()
    count, end = 0, time.monotonic() + seconds
    async with asyncio.timeout(seconds + 30):
        while not sink.connected:
            await asyncio.sleep(0.01)
        while not count or time.monotonic() < end:
            await sink.send(EventRecord(b"cam", b"{}", (), time.time_ns() // 1_000_000))
            count += 1
    await sink.close()
    return count


@pytest.mark.idle
@pytest.mark.parametrize("name", ["ann", "a,b", "a=b", "=2C,=3D"])
async def test_a_scram_user_with_any_name_publishes_over_tls(cluster: Cluster, name: str):
    """Any that Kafka takes: to its ``ScramMessages`` (4.1.1) a name is ASCII."""
    cluster.kafka.add_scram_user(name, "pencil")
    account = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": name, "sasl_password": "pencil"}
    assert await publish(cluster.settings("SCRAM", "SASL_SSL", **account), 0) == 1
    wrong = cluster.settings("SCRAM", "SASL_SSL", **(account | {"sasl_password": "pen"}))
    with pytest.raises(DeliveryUnavailable, match="refuses the credentials of user"):
        ensure_topic(wrong, wrong.bootstrap_servers, create=False)


async def test_events_are_published_with_tokens_that_expire_meanwhile(cluster: Cluster):
    cluster.tokens.lifetime_s, before = 4.0, len(cluster.tokens.asked)
    try:
        assert await publish(cluster.by_token(), 12.0) > 100
    finally:
        cluster.tokens.lifetime_s = 3600.0
    assert len(cluster.tokens.asked) - before >= 3
    assert cluster.tokens.keys_asked > 0  # by Kafka's validator, over HTTPS


@pytest.mark.idle
def test_a_token_that_kafka_does_not_take_is_reported_as_that(cluster: Cluster):
    with TokenServer(pair=cluster.tokens.pair) as stranger:  # it signs with another key
        asked = cluster.by_token(sasl_oauth_token_url=stranger.url)
        with pytest.raises(DeliveryUnavailable, match=r"refuses the token of client 'sightline' \(.+\)") as raised:
            ensure_topic(asked, asked.bootstrap_servers, create=False)
    assert "\n" not in str(raised.value)


@pytest.mark.idle
def test_a_secret_that_the_token_endpoint_refuses_is_reported_as_that(cluster: Cluster):
    asked = cluster.by_token(sasl_oauth_client_secret="hush-hush")
    with pytest.raises(DeliveryUnavailable, match=r"refuses client 'sightline' \(HTTP 401: unknown client") as raised:
        ensure_topic(asked, asked.bootstrap_servers, create=False)
    assert "hush" not in str(raised.value)
