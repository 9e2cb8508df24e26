"""The connection to Kafka: settings become client options, client errors become ours, the topic is made sure of."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Sequence
from typing import Any

from kafka import KafkaAdminClient, errors

from app.core.one_line import one_line
from app.errors import DeliveryError, DeliveryRefused, DeliveryUnavailable, TopicMissing
from app.publisher.kafka.diagnosis import diagnose
from app.publisher.kafka.produce_errors import PRODUCE_ERRORS, Verdict, refusal
from app.publisher.kafka.timeouts import Timeouts
from app.settings.connections import KafkaSettings

_CLIENT_LOG = logging.getLogger("kafka")
if _CLIENT_LOG.level == logging.NOTSET:
    # The client writes several lines a second while a broker is away; the trouble log writes one. A level that was set
    # before is kept.
    _CLIENT_LOG.setLevel(logging.CRITICAL)

BOOTSTRAP_TIMEOUT_MS = Timeouts.bootstrap_ms
RECONNECT_MAX_MS = 1_000
"""The longest pause between two tries of a client to reach a broker it has lost."""
_NO_PARTITION = "Partitioner did not assign a partition"
"""What ``KafkaProducer.send`` of 3.0.12 says in a ValueError where the topic vanishes while a record is handed over."""
_MISSING_TOPIC = (errors.UnknownTopicOrPartitionError, errors.InvalidTopicError)


def client_options(
    settings: KafkaSettings, bootstrap: Sequence[str], bootstrap_ms: int = BOOTSTRAP_TIMEOUT_MS
) -> dict[str, Any]:
    """Return what every client of kafka-python needs to reach these brokers, each try within ``bootstrap_ms``."""
    password = settings.sasl_password
    options = {
        "bootstrap_servers": list(bootstrap),
        "bootstrap_timeout_ms": bootstrap_ms,
        # Kafka's 30 s would add as much to every outage.
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        "security_protocol": settings.security_protocol,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
        "ssl_cafile": _path(settings.ssl_cafile),
        "ssl_certfile": _path(settings.ssl_certfile),
        "ssl_keyfile": _path(settings.ssl_keyfile),
    }
    return {name: value for name, value in options.items() if value is not None}


def translate(error: BaseException, topic: str) -> DeliveryError:
    """Translate an error of the Kafka client into one of ``app.errors``, with a one-line message."""
    if isinstance(error, DeliveryError):
        return error
    known = PRODUCE_ERRORS.get(error.errno) if isinstance(error, errors.BrokerResponseError) else None
    if known is not None and known.verdict is Verdict.REFUSED:
        return refusal(known.code, " ".join(str(part) for part in error.args if part is not None))
    if isinstance(error, _MISSING_TOPIC):
        return missing(topic)
    if isinstance(error, errors.AuthorizationError):
        return DeliveryUnavailable(
            f"Kafka denies access to {topic!r}: {_brief(error)}; its user needs Describe and Write on the topic"
        )
    if isinstance(error, errors.SaslAuthenticationFailedError):
        return DeliveryUnavailable(f"Kafka refuses the credentials: {_brief(error)}")
    return DeliveryUnavailable(f"Kafka cannot take the event now: {_brief(error)}")


def translate_invalid(error: Exception) -> DeliveryRefused | None:
    """Return a refusal where the client found the record itself at fault when it was handed over, else ``None``."""
    if _NO_PARTITION in str(error):
        return None
    if isinstance(error, (TypeError, ValueError, AssertionError, OverflowError, struct.error)):
        return DeliveryRefused(f"the event is no valid record: {_brief(error)}")
    return None


def missing(topic: str) -> TopicMissing:
    """Return the error for a missing topic; its message names the remedy."""
    return TopicMissing(
        f"the topic {topic!r} does not exist; create it, or set kafka.create_topic in the settings file"
    )


def ensure_topic(
    settings: KafkaSettings, bootstrap: Sequence[str], *, create: bool, bootstrap_ms: int = BOOTSTRAP_TIMEOUT_MS
) -> int:
    """Create the topic where it is missing and may be created; return its number of partitions.

    Raises:
        TopicMissing: the topic is not there and may not be created.
        DeliveryUnavailable: no broker answers.
    """
    try:
        admin = KafkaAdminClient(**client_options(settings, bootstrap, bootstrap_ms))
    except Exception as error:  # noqa: BLE001 - network, TLS, SASL and settings each raise their own
        reason = diagnose(settings, bootstrap) or _brief(error)
        raise DeliveryUnavailable(f"no Kafka broker answers at {', '.join(bootstrap)}: {reason}") from None
    try:
        partitions = _partitions(admin, settings.topic)
        if not partitions and create:
            _create(admin, settings)
            partitions = _partitions(admin, settings.topic)
    except Exception as error:  # noqa: BLE001 - an answer that the client cannot read raises anything
        reason = "" if isinstance(error, errors.BrokerResponseError) else diagnose(settings, bootstrap)
        raise DeliveryUnavailable(reason) if reason else translate(error, settings.topic) from None
    finally:
        with contextlib.suppress(Exception):  # its failure does not concern the topic
            admin.close()
    if not partitions:
        raise missing(settings.topic)
    return partitions


def _create(admin: Any, settings: KafkaSettings) -> None:
    try:
        admin.create_topics({settings.topic: {"num_partitions": settings.partitions, "replication_factor": -1}})
    except errors.TopicAlreadyExistsError:
        pass  # another publisher was faster
    except (errors.InvalidReplicationFactorError, errors.UnsupportedVersionError):
        # Brokers before 2.4 know no default replication factor.
        admin.create_topics({settings.topic: {"num_partitions": settings.partitions, "replication_factor": 1}})


def _partitions(admin: Any, topic: str) -> int:
    for described in admin.describe_topics([topic]):
        if described.get("name") == topic and not described.get("error_code"):
            return len(described.get("partitions", ()))
    return 0


def _path(value: object) -> str | None:
    return None if value is None else str(value)


def _brief(error: BaseException) -> str:
    text, name = one_line(error, 300), type(error).__name__
    return text if text.startswith(name) else f"{name}: {text}"[:300]
