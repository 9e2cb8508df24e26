"""Apache Kafka in KRaft mode, on this machine: one broker or three, which a test may kill, halt and start again.

It needs Java 17 and, for the first use, Maven with a repository that answers: the jars (43 MB) are kept in the user's
cache folder. Where one of these is missing, :func:`require_apache_kafka` skips with the reason.
"""

from __future__ import annotations

import base64
import fcntl
import functools
import os
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest
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

VERSION = "4.1.1"
SCALA = "2.13"
HOST = "127.0.0.1"
PROBE = "probe"
"""The key of records by which a test asks whether a partition takes any."""
START_S = 90.0
"""How long a broker may take to come up on a busy machine; 5 to 7 s on a calm one."""
_FETCH_S = 240.0
_JVM = ("-Xms128m", "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""400 MB are enough for a broker; the small compiler starts faster, and a test broker never runs long."""
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>apache-kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_{scala}</artifactId><version>{version}</version>
  </dependency></dependencies>
</project>
"""


class KafkaMissing(Exception):
    """Apache Kafka cannot be run on this machine; the text says why."""


def jars() -> Path:
    """Return the folder of Kafka's jars, fetched with Maven at the first use.

    Raises:
        KafkaMissing: Java 17 or later, or Maven, is not there; or Maven cannot fetch the jars.
    """
    found = _find_jars()
    if isinstance(found, KafkaMissing):
        raise found
    return found


@functools.cache
def _find_jars() -> Path | KafkaMissing:
    """Return the jars, or why there are none: that is found out once, as it may take minutes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline-tests"
    folder = cache / f"kafka_{SCALA}-{VERSION}"
    try:
        _require_java()
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            with (cache / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may begin at once
                if not folder.is_dir():
                    _fetch(folder)
    except KafkaMissing as missing:
        return missing
    except OSError as error:
        return KafkaMissing(f"the cache folder {str(cache)!r} cannot be used: {error.strerror}")
    return folder


def require_apache_kafka() -> None:
    """Skip the test, with the reason, where Apache Kafka cannot be run."""
    try:
        jars()
    except KafkaMissing as missing:
        pytest.skip(f"needs Apache Kafka {VERSION}: {missing}")


@dataclass(frozen=True)
class Listener:
    """One more listener of every broker, beside the plain one."""

    name: str
    protocol: str
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Of this listener alone, without the prefix ``listener.name.<name>.``."""


class Broker:
    """One broker, which is a controller as well; its log folder outlives its process."""

    def __init__(
        self,
        node: int,
        folder: Path,
        ports: Mapping[str, int],
        properties: Mapping[str, str],
        jvm: Sequence[str] = (),
    ) -> None:
        self.node = node
        self._jvm = jvm
        self._folder = folder
        self._ports = ports
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        lines = [f"{name}={value}" for name, value in properties.items()]
        self._properties = folder / "server.properties"
        self._properties.write_text("\n".join([*lines, ""]))
        self.output = folder / "output.txt"
        """What its process has printed."""

    def port(self, listener: str = "PLAINTEXT") -> int:
        """Return the port of a listener."""
        return self._ports[listener]

    def address(self, listener: str = "PLAINTEXT") -> str:
        """Return ``host:port`` of a listener."""
        return f"{HOST}:{self.port(listener)}"

    @property
    def pid(self) -> int:
        """The id of its process, which must run."""
        assert self._process is not None
        return self._process.pid

    def format(self, cluster_id: str, scram: Sequence[str]) -> None:
        """Make its folders ready, with SCRAM users such as ``SCRAM-SHA-512=[name=ann,password=secret]``."""
        users = [part for user in scram for part in ("--add-scram", user)]
        command = _java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties), *users)
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
        if done.returncode:
            raise RuntimeError(f"StorageTool of broker {self.node} failed: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start its process; it does not wait for it to answer."""
        assert self._process is None
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                _java(*self._jvm, "kafka.Kafka", str(self._properties)),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it was started, and not ended since."""
        return self._process is not None

    def check(self) -> None:
        """Raise with what it printed, where its process has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"broker {self.node} ended: {self.output.read_text()[-4000:]}")

    def kill(self) -> None:
        """End its process at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def shut_down(self) -> None:
        """End its process in good order: it hands its partitions over first."""
        self._end(signal.SIGTERM)

    def hang(self) -> None:
        """Halt its process: its connections stay, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a halted process run again."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, by: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(by)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


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
        end = time.monotonic() + timeout_s
        while True:
            for broker in self.brokers:
                broker.check()
            try:
                if len(self.admin.list_topics(timeout=1).brokers) == len(self.brokers):
                    return
            except KafkaException:
                pass
            if time.monotonic() > end:
                raise TimeoutError(f"Apache Kafka did not come up within {timeout_s:.0f} s")
            time.sleep(0.05)

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
        """Give a principal, such as ``User:ann``, a right on a topic; the cluster needs an authorizer.

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
        end = time.monotonic() + timeout_s
        while True:
            try:
                known = self.admin.list_topics(topic, timeout=2).topics[topic].partitions
            except KafkaException:
                known = {}
            if len(known) >= partitions and all(
                part.leader > 0 and part.leader not in away and len(set(part.isrs) - away) >= in_sync
                for part in known.values()
            ):
                return
            if time.monotonic() > end:
                raise TimeoutError(f"topic {topic} was not led within {timeout_s:.0f} s")
            time.sleep(0.05)

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
        end = time.monotonic() + START_S
        while True:
            known = self.admin.list_topics(timeout=30).topics
            ready = {
                name
                for name, topic in known.items()
                if topic.partitions and all(part.leader > 0 for part in topic.partitions.values())
            }
            if names <= ready:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"topics {names} have no leaders")
            time.sleep(0.02)

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


def _java(*command: str) -> list[str]:
    # Where the test process is killed, its brokers end with it.
    leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*leash, "java", *_JVM, "-cp", f"{jars()}/*", *command]


def _require_java() -> None:
    if shutil.which("java") is None:
        raise KafkaMissing("Java is not installed")
    reported = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', reported)
    if version is None or int(version[1]) < 17:
        raise KafkaMissing(f"Java 17 is needed, and this is {reported.splitlines()[0] if reported else 'unknown'}")


def _fetch(folder: Path) -> None:
    if shutil.which("mvn") is None:
        raise KafkaMissing(f"Maven is not installed, and Apache Kafka {VERSION} was not fetched before")
    fetching = folder.with_name(f"{folder.name}.{os.getpid()}")
    fetching.mkdir()
    try:
        (fetching / "pom.xml").write_text(_POM.format(scala=SCALA, version=VERSION))
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={fetching / 'jars'}"]
        try:
            done = subprocess.run(command, cwd=fetching, capture_output=True, text=True, timeout=_FETCH_S, check=False)
        except subprocess.TimeoutExpired:
            raise KafkaMissing(f"Maven did not fetch it within {_FETCH_S:.0f} s") from None
        if done.returncode:
            first = next((line for line in done.stdout.splitlines() if "ERROR" in line), "it does not say why")
            raise KafkaMissing(f"Maven cannot fetch it: {first[:300]}")
        (fetching / "jars").rename(folder)
    finally:
        shutil.rmtree(fetching, ignore_errors=True)
