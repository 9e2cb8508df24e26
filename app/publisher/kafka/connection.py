"""The connection to Kafka: settings become client options, client errors become ours, the topic is made sure of."""

from __future__ import annotations

import contextlib
import logging
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from kafka import KafkaAdminClient, errors

from app.core.one_line import one_line
from app.errors import DeliveryError, DeliveryRefused, DeliveryUnavailable, TopicMissing
from app.publisher.kafka.diagnosis import diagnose
from app.publisher.kafka.produce_errors import PRODUCE_ERRORS, Verdict, refusal
from app.publisher.kafka.sasl import sasl_options
from app.publisher.kafka.timeouts import Timeouts
from app.publisher.kafka.topic import Right, Topic, find_topic, principal_of
from app.publisher.kafka.troubles import Trouble
from app.settings.connections import KafkaSettings

_CLIENT_LOG = logging.getLogger("kafka")
if _CLIENT_LOG.level == logging.NOTSET:
    # The client writes several lines a second while a broker is away; the trouble log writes one. A level that was set
    # before is kept.
    _CLIENT_LOG.setLevel(logging.CRITICAL)

_QUOTED = re.compile(r"InitProducerIdResponse: \[Error (\d+)\]")
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
    options = {
        "bootstrap_servers": list(bootstrap),
        "bootstrap_timeout_ms": bootstrap_ms,
        # Kafka's 30 s would add as much to every outage.
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        "security_protocol": settings.security_protocol,
        **sasl_options(settings),
        "ssl_cafile": _path(settings.ssl_cafile),
        "ssl_certfile": _path(settings.ssl_certfile),
        "ssl_keyfile": _path(settings.ssl_keyfile),
    }
    return {name: value for name, value in options.items() if value is not None}


def translate(error: BaseException, settings: KafkaSettings, right: Right = Right.WRITE) -> DeliveryError:
    """Translate an error of the Kafka client into one of ``app.errors``, with a one-line message.

    Args:
        error: of the client, or one of ours, which is returned as it is.
        settings: the client's.
        right: which one is missing, where the brokers deny access to the topic.
    """
    if isinstance(error, DeliveryError):
        return error
    error = _answer_in(error)
    known = PRODUCE_ERRORS.get(error.errno) if isinstance(error, errors.BrokerResponseError) else None
    if known is not None and known.verdict is Verdict.REFUSED:
        return refusal(known.code, " ".join(str(part) for part in error.args if part is not None))
    if isinstance(error, _MISSING_TOPIC):
        return missing(settings.topic)
    if isinstance(error, errors.AuthorizationError):
        return _denied(error, settings, right)
    if isinstance(error, errors.SaslAuthenticationFailedError):
        trouble = Trouble.TOKEN if settings.sasl_mechanism == "OAUTHBEARER" else Trouble.CREDENTIALS
        facts = {"user": settings.sasl_username, "client": settings.sasl_oauth_client_id, "why": one_line(error, 200)}
        return DeliveryUnavailable(trouble.say(peer="Kafka", **facts))
    return DeliveryUnavailable(Trouble.NOT_NOW.say(why=_brief(error)))


def translate_invalid(error: Exception) -> DeliveryRefused | None:
    """Return a refusal where the client found the record itself at fault when it was handed over, else ``None``."""
    if _NO_PARTITION in str(error):
        return None
    if isinstance(error, (TypeError, ValueError, AssertionError, OverflowError, struct.error)):
        return DeliveryRefused(f"the event is no valid record: {_brief(error)}")
    return None


def missing(topic: str) -> TopicMissing:
    """Return the error for a missing topic; its message names the remedy."""
    return TopicMissing(Trouble.TOPIC_MISSING.say(topic=topic))


def denied(settings: KafkaSettings, right: Right, resource: str) -> DeliveryUnavailable:
    """Return the error of a missing right, which names it, and whom it is to be given."""
    facts = {"principal": principal_of(settings), "operation": str(right), "resource": resource}
    return DeliveryUnavailable(Trouble.RIGHT.say(**facts))


def explain(error: Exception, settings: KafkaSettings, bootstrap: Sequence[str], right: Right) -> DeliveryError:
    """Translate an error that came while brokers were asked, after a diagnosis where it is none of their answers."""
    answered = isinstance(error, (errors.BrokerResponseError, DeliveryError))
    reason = "" if answered else diagnose(settings, bootstrap)
    return DeliveryUnavailable(reason) if reason else translate(error, settings, right)


@contextlib.contextmanager
def admin_client(
    settings: KafkaSettings, bootstrap: Sequence[str], bootstrap_ms: int = BOOTSTRAP_TIMEOUT_MS
) -> Iterator[Any]:
    """Connect a client of the library for administration, and close it in the end.

    Raises:
        DeliveryUnavailable: no broker answers.
    """
    try:
        admin = KafkaAdminClient(**client_options(settings, bootstrap, bootstrap_ms))
    except Exception as error:  # noqa: BLE001 - network, TLS, SASL and settings each raise their own
        raise no_broker(settings, bootstrap, error) from None
    try:
        yield admin
    finally:
        with contextlib.suppress(Exception):  # its failure does not concern the topic
            admin.close()


def no_broker(settings: KafkaSettings, bootstrap: Sequence[str], error: Exception) -> DeliveryUnavailable:
    """Return the error of a client that could not connect: what is wrong with each address."""
    found = diagnose(settings, bootstrap)
    facts = {"bootstrap": ", ".join(bootstrap), "why": _brief(error)}
    return DeliveryUnavailable(found or Trouble.NO_BROKER.say(**facts))


def ensure_topic(
    settings: KafkaSettings, bootstrap: Sequence[str], *, create: bool, bootstrap_ms: int = BOOTSTRAP_TIMEOUT_MS
) -> Topic:
    """Create the topic where it is missing and may be created; return it.

    Raises:
        TopicMissing: the topic is not there and may not be created.
        DeliveryUnavailable: no broker answers, or it denies access to the topic.
    """
    with admin_client(settings, bootstrap, bootstrap_ms) as admin:
        right = Right.DESCRIBE
        try:
            topic = find_topic(admin, settings.topic, with_config=not settings.embedded)
            if topic is None and create:
                right = Right.CREATE
                create_topic(admin, settings)
                topic = find_topic(admin, settings.topic, with_config=not settings.embedded)
        except Exception as error:  # noqa: BLE001 - an answer that the client cannot read raises anything
            raise explain(error, settings, bootstrap, right) from None
    if topic is None:
        raise missing(settings.topic)
    return topic


def create_topic(admin: Any, settings: KafkaSettings, *, validate_only: bool = False) -> None:
    """Create the topic; where it is there already, that is no error.

    Args:
        admin: a client of the library.
        settings: the topic's name and number of partitions.
        validate_only: whether the brokers only check that they would create it.

    Raises:
        kafka.errors.KafkaError: they do not create it.
    """
    wanted = {"num_partitions": settings.partitions, "replication_factor": -1}
    try:
        admin.create_topics({settings.topic: wanted}, validate_only=validate_only)
    except errors.TopicAlreadyExistsError:
        pass  # another publisher was faster
    except (errors.InvalidReplicationFactorError, errors.UnsupportedVersionError):
        # Brokers before 2.4 know no default replication factor.
        admin.create_topics({settings.topic: wanted | {"replication_factor": 1}}, validate_only=validate_only)


def _answer_in(error: BaseException) -> BaseException:
    """Return the broker's denial that the library only quotes: it does so with the one to InitProducerId."""
    quoted = _QUOTED.search(str(error)) if type(error) is errors.KafkaError else None
    kind = errors.for_code(int(quoted[1])) if quoted else None
    return kind() if kind is not None and issubclass(kind, errors.AuthorizationError) else error


def _denied(error: errors.AuthorizationError, settings: KafkaSettings, right: Right) -> DeliveryUnavailable:
    topic = f"the topic {settings.topic!r}"
    if isinstance(error, errors.ClusterAuthorizationFailedError) and right is not Right.CREATE:
        implied = f"the cluster, which {Right.WRITE} on {topic} implies since Kafka 2.8"
        return denied(settings, Right.IDEMPOTENT_WRITE, implied)
    if isinstance(error, errors.TransactionalIdAuthorizationFailedError):
        return denied(settings, Right.WRITE, "the transactional id")
    return denied(settings, right, topic)


def _path(value: object) -> str | None:
    return None if value is None else str(value)


def _brief(error: BaseException) -> str:
    text, name = one_line(error, 300), type(error).__name__
    return text if text.startswith(name) else f"{name}: {text}"[:300]
