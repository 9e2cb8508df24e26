"""GSSAPI before Apache Kafka itself, with a realm of Kerberos on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.apache_kafka import ApacheKafka
from tests.support.kafka_broker import Listener
from tests.support.kafka_distribution import require_apache_kafka
from tests.support.kerberos import SERVICE, Realm, require_kerberos
from tests.support.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PUBLISH = """
import asyncio, sys, time
from app.publisher import EventRecord
from app.publisher.kafka.sink import KafkaSink
from app.settings.loading import load_settings
from app.settings.environment import process_environment

async def publish():
    kafka = load_settings(process_environment()).kafka
    async def find():
        return kafka.bootstrap_servers
    sink = KafkaSink(kafka, find)
    sink.start()
    async with asyncio.timeout(60):
        while not sink.connected:
            await asyncio.sleep(0.05)
            if sink.trouble and not sink.trouble.startswith("waiting"):
                sys.exit(sink.trouble)
        await sink.send(EventRecord(b"cam", b"{}", (), time.time_ns() // 1_000_000))
    await sink.close()

asyncio.run(publish())
"""


@dataclass(frozen=True)
class Guarded:
    kafka: ApacheKafka
    realm: Realm

    def publish(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Publish one event in a process that has the realm's variables and these."""
        ours = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.brokers[0].address("GUARDED"),
            "KAFKA_TOPIC": "events",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "GSSAPI",
        }
        return subprocess.run(
            [sys.executable, "-c", PUBLISH],
            cwd=ROOT,
            env={**os.environ, **self.realm.environment, **ours, **environment},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    require_apache_kafka()
    require_kerberos()
    folder = tmp_path_factory.mktemp("kerberos")
    with Realm(folder / "realm") as realm:
        module = "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true"
        properties = {
            "sasl.enabled.mechanisms": "GSSAPI",
            "gssapi.sasl.jaas.config": f'{module} keyTab="{realm.service_keytab}" principal="{SERVICE}";',
            "sasl.kerberos.service.name": "kafka",
        }
        with ApacheKafka(
            folder / "cluster",
            listeners=[Listener("GUARDED", "SASL_PLAINTEXT", properties)],
            jvm=[f"-Djava.security.krb5.conf={realm.config}"],
        ) as kafka:
            kafka.create_topic("events")
            yield Guarded(kafka, realm)


def test_an_event_is_published_by_a_user_of_the_realm(guarded: Guarded):
    before = guarded.kafka.end_offset("events")
    done = guarded.publish()
    assert (done.returncode, done.stderr) == (0, "")
    assert guarded.kafka.end_offset("events") == before + 1


def test_a_user_without_a_key_is_told_that_there_is_no_ticket(guarded: Guarded):
    done = guarded.publish(KRB5_CLIENT_KTNAME="/nowhere", KRB5CCNAME="FILE:/nowhere")
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert re.match(r"Kerberos gives no ticket for the service 'kafka' of 127\.0\.0\.1:\d+ \(.+\): kinit", line), line
