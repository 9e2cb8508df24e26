"""The seam to Kafka: its settings handed on, its errors turned into ours, its secrets kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kafka import errors

from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher.kafka.connection import client_options, translate, translate_invalid
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.paths import ROOT

SECURE = KafkaSettings(
    bootstrap_servers=("k:9093",),
    security_protocol="SASL_SSL",
    sasl_mechanism="SCRAM-SHA-512",
    sasl_username="viewer",
    sasl_password="hush-hush",
    ssl_cafile=Path("/ca.pem"),
    ssl_certfile=Path("/cert.pem"),
    ssl_keyfile=Path("/key.pem"),
)


def test_security_settings_reach_the_client():
    options = client_options(SECURE, ("k:9093",))
    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("viewer", "hush-hush")
    assert (options["ssl_cafile"], options["ssl_certfile"], options["ssl_keyfile"]) == (
        "/ca.pem",
        "/cert.pem",
        "/key.pem",
    )


def test_a_plain_connection_is_given_no_security_it_has_not():
    assert not [name for name in client_options(KafkaSettings(), ("k:9092",)) if name.startswith(("ssl", "sasl"))]


async def test_the_password_is_in_no_representation_of_a_sink():
    async def nowhere() -> tuple[str, ...]:
        return ("k:9093",)

    sink = KafkaSink(SECURE, nowhere)
    assert "hush-hush" not in f"{sink!r} {vars(sink)!r} {sink.trouble}"


@pytest.mark.parametrize(
    "error",
    [errors.MessageSizeTooLargeError, errors.RecordListTooLargeError, errors.InvalidRecordError],
)
def test_an_event_at_fault_is_refused_for_good(error: type[Exception]):
    assert isinstance(translate(error("why"), SECURE), DeliveryRefused)


@pytest.mark.parametrize(
    "error",
    [
        errors.KafkaTimeoutError,
        errors.NotEnoughReplicasError,
        errors.OutOfOrderSequenceNumberError,
        errors.InvalidProducerEpochError,
        errors.TopicAuthorizationFailedError,
        errors.SaslAuthenticationFailedError,
        errors.IllegalStateError,
        OSError,
    ],
)
def test_whatever_may_pass_is_unavailable_and_one_line(error: type[Exception]):
    reported = translate(error("first line\nsecond line"), SECURE)
    assert isinstance(reported, DeliveryUnavailable)
    assert "\n" not in str(reported)


def test_a_missing_topic_says_its_name_and_what_to_do():
    reported = str(translate(errors.UnknownTopicOrPartitionError(), SECURE))
    assert "events.detections" in reported
    assert "kafka.create_topic" in reported


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (errors.TopicAuthorizationFailedError("t"), "Write on the topic 'events.detections'"),
        (
            errors.KafkaError("Unexpected error in InitProducerIdResponse: [Error 31] ClusterAuthorizationFailedError"),
            "IdempotentWrite on the cluster, which Write on the topic 'events.detections' implies since Kafka 2.8",
        ),
        (errors.TransactionalIdAuthorizationFailedError(), "Write on the transactional id"),
    ],
)
def test_a_denial_names_the_right_and_the_user(error: Exception, right: str):
    reported = str(translate(error, SECURE))
    assert reported == f"Kafka denies User:viewer the right {right}: grant it with an ACL"


def test_a_record_that_the_client_cannot_take_is_distinguished_from_a_broker_that_is_away():
    assert isinstance(translate_invalid(TypeError("bad key")), DeliveryRefused)
    assert translate_invalid(errors.KafkaTimeoutError("no metadata")) is None


def test_events_can_be_built_and_committed_without_loading_the_kafka_client():
    code = "import sys, app.publisher, app.publisher.kafka.embedded_broker; sys.exit('kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
