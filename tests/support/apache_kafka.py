"""A cluster of Apache Kafka in KRaft mode on this machine: one broker or three, its topics, users and rights."""

from __future__ import annotations

import base64
import contextlib
import functools
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from app.core.ports import free_ports
from tests.support.kafka_broker import HOST, START_S, Broker, Listener
from tests.support.waiting import wait_for

PROBE = "probe"
"""The key of records by which a test asks whether a partition takes any."""


class ApacheKafka:
    """A cluster; a context manager, in which every broker answers."""

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        *,
        properties: Mapping[str, str] | None = None,
        listeners: Sequence[Listener] = (),
        scram: Sequence[str] = (),
        advertised: Mapping[tuple[int, str], str] | None = None,
        jvm: Sequence[str] = (),
    ) -> None:
        """Lay a cluster out; nothing is started yet.

        Args:
            folder: where its data goes; must not exist.
            brokers: how many, each a controller as well.
            properties: broker settings beside ours, for instance ``authorizer.class.name``.
            listeners: beside the plain one, which stays the way among the brokers and of the test itself.
            scram: users to begin with, such as ``SCRAM-SHA-512=[name=ann,password=secret]``.
            jvm: options of each broker's process, such as ``-Dname=value``.
            advertised: by node and listener name the ``host:port`` reported to clients instead of its own, for a proxy.
        """
        self._scram = scram
        names = ["PLAINTEXT", "CONTROLLER", *(listener.name for listener in listeners)]
        free = iter(free_ports(brokers * len(names), HOST))
        self._ports = {node: {name: next(free) for name in names} for node in range(1, brokers + 1)}
        self._listeners = listeners
        self._advertised = dict(advertised or {})
        self.brokers = tuple(
            Broker(node, folder / f"broker-{node}", ports, self._settings(node, folder) | dict(properties or {}), jvm)
            for node, ports in self._ports.items()
        )

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """The plain addresses of all brokers."""
        return tuple(broker.address() for broker in self.brokers)

    @functools.cached_property
    def admin(self) -> AdminClient:
        """A client of another make than the one under test, over the plain listener."""
        return AdminClient({"bootstrap.servers": ",".join(self.bootstrap), "log_level": 0})

    def __enter__(self) -> ApacheKafka:
        cluster_id = base64.urlsafe_b64encode(b"0" + uuid.uuid4().bytes[1:])[:22].decode()
        try:
            for broker in self.brokers:
                broker.format(cluster_id, self._scram)
            for broker in self.brokers:
                broker.start()
            self.wait_up()
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill_all()

    def wait_up(self, timeout_s: float = START_S) -> None:
        """Wait until every broker is known to the cluster."""

        def known() -> bool:
            for broker in self.brokers:
                broker.check()
            with contextlib.suppress(KafkaException):
                return len(self.admin.list_topics(timeout=1).brokers) == len(self.brokers)
            return False

        wait_for(known, timeout_s, "a cluster of Apache Kafka with every broker")

    def create_topic(
        self, name: str, partitions: int = 1, replicas: int | None = None, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic with settings of its own, and wait until it is there.

        Raises:
            KafkaException: the cluster refuses it.
        """
        topic = NewTopic(name, partitions, replicas or len(self.brokers), config=dict(config or {}))
        self.admin.create_topics([topic])[name].result(30)
        self._await_topics({name})

    def allow(self, principal: str, operation: AclOperation, topic: str) -> None:
        """Grant a principal, such as ``User:ann``, a right on a topic; the cluster needs an authorizer.

        Raises:
            KafkaException: the cluster refuses it.
        """
        pattern, allowed = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
        binding = AclBinding(ResourceType.TOPIC, topic, pattern, principal, "*", operation, allowed)
        for reported in self.admin.create_acls([binding]).values():
            reported.result(30)

    def add_scram_user(self, name: str, password: str) -> None:
        """Add a user of SCRAM-SHA-512, whose name may hold any character: that of ``StorageTool`` may not.

        Raises:
            KafkaException: the cluster refuses it.
        """
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        user = UserScramCredentialUpsertion(name, info, password.encode())
        for reported in self.admin.alter_user_scram_credentials([user]).values():
            reported.result(30)

    def delete_topic(self, name: str) -> None:
        """Delete a topic.

        Raises:
            KafkaException: the cluster refuses it.
        """
        self.admin.delete_topics([name])[name].result(30)

    def configure_topic(self, name: str, config: Mapping[str, str]) -> None:
        """Change some settings of a topic.

        Raises:
            KafkaException: the cluster refuses them.
        """
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
        for reported in self.admin.incremental_alter_configs([resource]).values():
            reported.result(30)

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """Return how many records a partition has had."""
        offsets = self.admin.list_offsets({TopicPartition(topic, partition): OffsetSpec.latest()})
        (reported,) = offsets.values()
        return int(reported.result(30).offset)

    def mend(self) -> None:
        """Start every broker that is down, let each that is halted go on, and wait until all are there."""
        for broker in self.brokers:
            if broker.running:
                broker.go_on()
            else:
                broker.start()
        self.wait_up()

    def add_partitions(self, topic: str, count: int) -> None:
        """Add partitions to a topic until it has so many, and wait until they have leaders.

        Raises:
            KafkaException: the cluster refuses it.
        """
        self.admin.create_partitions([NewPartitions(topic, count)])[topic].result(30)
        self.wait_led(topic, count)

    def wait_led(
        self,
        topic: str,
        partitions: int = 1,
        in_sync: int = 1,
        without: Sequence[Broker] = (),
        timeout_s: float = START_S,
    ) -> None:
        """Wait until each of a topic's partitions is led, by none of some brokers, with so many replicas in sync."""
        away = {broker.node for broker in without}

        def led() -> bool:
            try:
                known = self.admin.list_topics(topic, timeout=2).topics[topic].partitions
            except KafkaException:
                return False
            return len(known) >= partitions and all(
                part.leader > 0 and part.leader not in away and len(set(part.isrs) - away) >= in_sync
                for part in known.values()
            )

        wait_for(led, timeout_s, f"the leaders of topic {topic}")

    def wait_writable(self, topic: str, timeout_s: float = START_S) -> None:
        """Wait until every partition of a topic takes records, with ``acks=all``, from a client of another make.

        What the cluster tells of leaders and replicas may be of before a fault. The records have the key ``probe``.
        """
        producer = Producer(
            {
                "bootstrap.servers": ",".join(self.bootstrap),
                "message.timeout.ms": 2_000,
                "socket.timeout.ms": 2_000,
                "request.timeout.ms": 1_000,
                "reconnect.backoff.max.ms": 200,
                "topic.metadata.refresh.interval.ms": 500,
                "log_level": 0,
            }
        )
        left = set(self.admin.list_topics(topic, timeout=30).topics[topic].partitions)
        end = time.monotonic() + timeout_s

        def delivered(error: object, message: Message) -> None:
            if error is None:
                left.discard(message.partition())

        while left:
            if time.monotonic() > end:
                raise TimeoutError(f"partitions {left} of topic {topic} took nothing within {timeout_s:.0f} s")
            for partition in left:
                producer.produce(topic, value=b"{}", key=PROBE, partition=partition, on_delivery=delivered)
            producer.flush(0.2)

    def leader(self, topic: str, partition: int = 0) -> Broker:
        """Return the broker that leads a partition."""
        node = self.admin.list_topics(topic, timeout=30).topics[topic].partitions[partition].leader
        return next(broker for broker in self.brokers if broker.node == node)

    def _await_topics(self, names: set[str]) -> None:
        def led() -> bool:
            known = self.admin.list_topics(timeout=30).topics
            return names <= {
                name
                for name, topic in known.items()
                if topic.partitions and all(part.leader > 0 for part in topic.partitions.values())
            }

        wait_for(led, START_S, f"the leaders of topics {names}")

    def _settings(self, node: int, folder: Path) -> dict[str, str]:
        count = str(min(3, len(self._ports)))
        ports = self._ports[node]
        reported = {
            name: self._advertised.get((node, name), f"{HOST}:{port}")
            for name, port in ports.items()
            if name != "CONTROLLER"
        }
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        protocols |= {listener.name: listener.protocol for listener in self._listeners}
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": _list(
                f"{each}@{HOST}:{its['CONTROLLER']}" for each, its in self._ports.items()
            ),
            "controller.listener.names": "CONTROLLER",
            "listeners": _list(f"{name}://{HOST}:{port}" for name, port in ports.items()),
            "advertised.listeners": _list(f"{name}://{address}" for name, address in reported.items()),
            "listener.security.protocol.map": _list(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(folder / f"broker-{node}" / "data"),
            "default.replication.factor": count,
            "offsets.topic.replication.factor": count,
            "transaction.state.log.replication.factor": count,
            "transaction.state.log.min.isr": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.num.partitions": "1",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
        }
        for listener in self._listeners:
            prefix = f"listener.name.{listener.name.lower()}."
            settings |= {prefix + name: value for name, value in listener.properties.items()}
        return settings

    def _kill_all(self) -> None:
        for broker in self.brokers:
            broker.kill()


def _list(parts: Iterable[str]) -> str:
    return ",".join(parts)
