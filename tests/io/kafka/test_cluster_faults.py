"""A publisher and a cluster of Apache Kafka that is broken in every way while cameras send; see RESULTS.md."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from app.publisher.kafka.timeouts import Timeouts
from app.settings.connections import KafkaSettings
from tests.support.apache_kafka import ApacheKafka
from tests.support.certificates import Authority
from tests.support.delaying_proxy import DelayingProxy
from tests.support.kafka_broker import Listener
from tests.support.kafka_distribution import require_apache_kafka
from tests.support.published_load import HEADER, PublishedLoad, Row, make_event
from tests.support.table import Table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RECOVERY_S = 10.0
"""All that was accepted by then is there so long after the cluster takes records again, at the latest."""
ONE_WAY_S = 0.04
SESSION_MS = 4_000
"""A broker that is silent for so long is fenced."""
HUNG_S = 12.0
"""Longer than any time-out of the client, and than it takes the cluster to fence a broker."""


class Cluster:
    """Three brokers, each with a plain listener, one for SCRAM over TLS and one that is far away."""

    def __init__(self, kafka: ApacheKafka, authority: Authority, proxies: list[DelayingProxy]) -> None:
        self.kafka = kafka
        self._authority = authority
        self._proxies = proxies

    def plain(self, topic: str) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.kafka.bootstrap, topic=topic)

    def secured(self, topic: str) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=tuple(broker.address("SECURED") for broker in self.kafka.brokers),
            topic=topic,
            security_protocol="SASL_SSL",
            ssl_cafile=self._authority.certificate,
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="ann",
            sasl_password="secret",
        )

    def far(self, topic: str) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=tuple(proxy.address for proxy in self._proxies), topic=topic)

    def cut(self) -> None:
        for proxy in self._proxies:
            proxy.cut()

    def mend(self) -> None:
        for proxy in self._proxies:
            proxy.mend()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require_apache_kafka()
    folder = tmp_path_factory.mktemp("kafka")
    authority = Authority(folder / "authority")
    pair = authority.issue("broker")
    both = folder / "broker-both.pem"
    both.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    secured = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(both),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required ;",
        "scram-sha-512.connections.max.reauth.ms": "2000",
    }
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
        "super.users": "User:ANONYMOUS",
        "broker.session.timeout.ms": str(SESSION_MS),
        "broker.heartbeat.interval.ms": "500",
    }
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(DelayingProxy(ONE_WAY_S)) for _ in range(3)]
        kafka = ApacheKafka(
            folder / "cluster",
            brokers=3,
            properties=properties,
            listeners=[Listener("SECURED", "SASL_SSL", secured), Listener("FAR", "PLAINTEXT")],
            scram=["SCRAM-SHA-512=[name=ann,password=secret]"],
            advertised={(number + 1, "FAR"): proxy.address for number, proxy in enumerate(proxies)},
        )
        for broker, proxy in zip(kafka.brokers, proxies, strict=True):
            proxy.target = broker.port("FAR")
        yield Cluster(stack.enter_context(kafka), authority, proxies)


@pytest.fixture
def cluster(started: Cluster) -> Iterator[Cluster]:
    """The cluster, whole again for the next test."""
    yield started
    started.mend()
    started.kafka.mend()


@pytest.fixture
def topic(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """A topic of three partitions on all brokers, of which two must have a record."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:200]
    cluster.kafka.create_topic(name, partitions=3, config={"min.insync.replicas": "2"})
    return name


@pytest.fixture(scope="module")
def rows(table: Table) -> Iterator[list[Row]]:
    found: list[Row] = []
    yield found
    table.write([*HEADER, *(str(row) for row in found)])


async def away(function: Callable[..., None], *arguments: object, **options: object) -> None:
    """Call what waits for the cluster, while the cameras go on."""
    await asyncio.to_thread(function, *arguments, **options)


async def recovery(cluster: Cluster, topic: str, load: PublishedLoad) -> float:
    """Return how many seconds after the topic takes records again it has all that is accepted by then."""
    await away(cluster.kafka.wait_writable, topic)
    return await load.all_there()


@asynccontextmanager
async def judged(
    rows: list[Row], fault: str, cluster: Cluster, load: PublishedLoad, since: list[float] | None = None
) -> AsyncIterator[list[float]]:
    """Run a load; its recoveries' seconds go into the list that is given, and what became of it into the table."""
    recoveries: list[float] = []
    async with load:
        yield recoveries
        await load.more(3)
        await load.finish()
        row = await load.judge(
            fault, cluster.kafka.bootstrap, max(recoveries, default=None), since[0] if since else 0.0
        )
    rows.append(row)
    assert (row.lost, row.out_of_order) == (0, 0), str(row)
    assert row.published == row.accepted - row.set_aside
    assert max(recoveries, default=0.0) <= RECOVERY_S, str(row)


async def test_leader_killed(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    load = PublishedLoad(cluster.plain(topic), tmp_path)
    async with judged(rows, "leader killed, and started again", cluster, load) as recoveries:
        leader = cluster.kafka.leader(topic)
        await away(leader.kill)
        await away(cluster.kafka.wait_led, topic, 3, in_sync=2, without=[leader])
        recoveries.append(await recovery(cluster, topic, load))
        leader.start()
        await away(cluster.kafka.wait_led, topic, 3, in_sync=3)
        recoveries.append(await recovery(cluster, topic, load))


async def test_leader_hung(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    load = PublishedLoad(cluster.plain(topic), tmp_path)
    async with judged(rows, f"leader halted for {HUNG_S:g} s (SIGSTOP)", cluster, load) as recoveries:
        leader = cluster.kafka.leader(topic)
        halted = asyncio.get_running_loop().time()
        leader.hang()
        await away(cluster.kafka.wait_led, topic, 3, in_sync=2, without=[leader])
        recoveries.append(await recovery(cluster, topic, load))
        await asyncio.sleep(halted + HUNG_S - asyncio.get_running_loop().time())
        leader.go_on()
        await away(cluster.kafka.wait_led, topic, 3, in_sync=3)
        recoveries.append(await recovery(cluster, topic, load))


async def test_rolling_restart(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    load = PublishedLoad(cluster.plain(topic), tmp_path)
    async with judged(rows, "rolling restart", cluster, load) as recoveries:
        for broker in cluster.kafka.brokers:
            await away(broker.shut_down)
            await away(cluster.kafka.wait_led, topic, 3, in_sync=2, without=[broker])
            recoveries.append(await recovery(cluster, topic, load))
            broker.start()
            await away(cluster.kafka.wait_led, topic, 3, in_sync=3)
            recoveries.append(await recovery(cluster, topic, load))


async def test_two_of_three_down(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    load = PublishedLoad(cluster.plain(topic), tmp_path)
    async with judged(rows, "two of three brokers killed for 10 s", cluster, load) as recoveries:
        down = cluster.kafka.brokers[1:]
        for broker in down:
            await away(broker.kill)
        await asyncio.sleep(10)
        for broker in down:
            broker.start()
        await away(cluster.kafka.wait_led, topic, 3, in_sync=3)
        recoveries.append(await recovery(cluster, topic, load))
        assert load.troubles


async def test_too_few_replicas(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    cluster.kafka.configure_topic(topic, {"min.insync.replicas": "3"})
    load = PublishedLoad(cluster.plain(topic), tmp_path)
    async with judged(rows, "`min.insync.replicas` not met", cluster, load) as recoveries:
        leader = cluster.kafka.leader(topic)
        other = next(broker for broker in cluster.kafka.brokers if broker is not leader)
        await away(other.shut_down)
        await load.until_trouble("NotEnoughReplicas")
        other.start()
        await away(cluster.kafka.wait_led, topic, 3, in_sync=3)
        recoveries.append(await recovery(cluster, topic, load))


async def test_rights_taken(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    rule = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ann", "*", AclOperation.WRITE)
    load = PublishedLoad(cluster.secured(topic), tmp_path)
    async with judged(rows, "right to write taken, and given back", cluster, load) as recoveries:
        for reported in cluster.kafka.admin.create_acls([AclBinding(*rule, AclPermissionType.DENY)]).values():
            await away(reported.result, 30)
        await load.until_trouble("the right Write on the topic")
        await load.more(30)
        for reported in cluster.kafka.admin.delete_acls([AclBindingFilter(*rule, AclPermissionType.DENY)]).values():
            await away(reported.result, 30)
        recoveries.append(await recovery(cluster, topic, load))


async def test_scram_over_tls(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    load = PublishedLoad(cluster.secured(topic), tmp_path)
    async with judged(rows, "SCRAM over TLS, each session ends after 2 s", cluster, load):
        await load.more(90)
        assert not load.troubles


async def test_events_refused(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    limits = {"max.message.bytes": "60000", "message.timestamp.before.max.ms": "60000"}
    cluster.kafka.configure_topic(topic, limits | {"message.timestamp.after.max.ms": "60000"})
    load = PublishedLoad(cluster.plain(topic), tmp_path)
    bad = {"label": "x" * 20_000}, {"label": "x" * 400_000}, {"age_s": 300.0}, {"age_s": -300.0}
    async with judged(rows, "events too large, too old, too new among good ones", cluster, load):
        for _ in range(10):
            for why in bad:
                await load.submit(make_event("cam-1", 0, **why))
            await load.more(2)
        await load.all_there()
        assert load.publisher.snapshot().quarantined == 40


async def test_topic_made_again(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    load = PublishedLoad(cluster.plain(topic), tmp_path)
    since: list[float] = []
    async with judged(rows, "topic deleted, and made again", cluster, load, since) as recoveries:
        await away(cluster.kafka.delete_topic, topic)
        await load.until_trouble("does not exist")
        since.append(asyncio.get_running_loop().time())
        await away(cluster.kafka.create_topic, topic, 3)
        recoveries.append(await recovery(cluster, topic, load))


async def test_partitions_added(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    cluster.kafka.configure_topic(
        topic, {"message.timestamp.type": "LogAppendTime"}
    )  # so that the judge sees the order
    load = PublishedLoad(cluster.far(topic), tmp_path, cameras=8, timeouts=Timeouts(refresh_ms=300))
    async with judged(rows, "partitions added, from 3 to 11", cluster, load) as recoveries:
        for count in (5, 7, 11):
            await away(cluster.kafka.add_partitions, topic, count)
            recoveries.append(await recovery(cluster, topic, load))
            await load.more(10)
        assert not load.troubles


async def test_far_away(cluster: Cluster, topic: str, tmp_path: Path, rows: list[Row]):
    load = PublishedLoad(cluster.far(topic), tmp_path)
    async with judged(rows, "80 ms away, cut for 8 s", cluster, load) as recoveries:
        cluster.cut()
        await asyncio.sleep(8)
        cluster.mend()
        recoveries.append(await recovery(cluster, topic, load))
