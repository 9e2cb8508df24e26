"""Topic: what the brokers say of it, and what this client may do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from kafka import errors
from kafka.protocol.admin import DescribeConfigsRequest

from app.core.one_line import one_line
from app.settings.connections import KafkaSettings

_TOPIC = 2
"""The type of a resource in DescribeConfigs (Kafka's ``ConfigResource.Type``)."""
_NAMES = (
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.insync.replicas",
    "retention.ms",
)
_CENTURY_MS = 100 * 365 * 86_400_000
"""A longer time is taken for no limit; Kafka's own "none" is -1, or the largest 64-bit number."""


class Right(StrEnum):
    """An operation that an ACL allows, as ``kafka-acls`` takes it."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"
    IDEMPOTENT_WRITE = "IdempotentWrite"


@dataclass(frozen=True)
class TopicConfig:
    """The settings of a topic that concern events."""

    cleanup_policy: str
    max_message_bytes: int | None
    min_insync_replicas: int | None
    retention: timedelta | None
    """How long after its timestamp an event is kept; ``None``: no limit, or one that its timestamp has no part in."""
    oldest_timestamp: timedelta | None
    """How old an event may be when it is written; ``None``: no limit."""

    @property
    def compacted(self) -> bool:
        """Whether older events of a key are deleted."""
        return "compact" in self.cleanup_policy.split(",")


@dataclass(frozen=True)
class Topic:
    """A topic that is there."""

    name: str
    partitions: int
    replicas: int
    """Of the partition that has the fewest."""
    rights: frozenset[Right] | None
    """What this client may do with it; ``None``: the brokers do not say."""
    config: TopicConfig | None
    """``None``: it cannot be read."""
    unreadable: str = ""
    """Why it cannot be read."""


def find_topic(admin: Any, name: str, *, with_config: bool = True) -> Topic | None:
    """Return a topic as the brokers describe it; ``None``: it is not there.

    Args:
        admin: a client of the library that is connected.
        name: the topic's.
        with_config: whether its settings are asked for; a broker of another make may close the connection at that.

    Raises:
        kafka.errors.KafkaError: no answer, or one that denies it; TopicAuthorizationFailedError: Describe is missing.
    """
    described: dict[str, Any] = next((one for one in admin.describe_topics([name]) if one.get("name") == name), {})
    error = errors.for_code(described.get("error_code", 0))
    if error is errors.TopicAuthorizationFailedError:
        raise error(name)
    partitions = described.get("partitions") or ()
    if error is not errors.NoError or not partitions:
        return None
    config, unreadable = _config(admin, name) if with_config else (None, "they were not asked for")
    return Topic(
        name=name,
        partitions=len(partitions),
        replicas=min(len(one.get("replica_nodes") or ()) for one in partitions),
        rights=rights_of(described.get("authorized_operations")),
        config=config,
        unreadable=unreadable,
    )


def rights_of(operations: Sequence[str] | None) -> frozenset[Right] | None:
    """Return those of the authorised operations that matter here; ``None``: not reported, or not to be believed.

    Who got an answer may describe: operations without that one come from a broker that knows no ACLs.
    """
    rights = frozenset(right for right in Right if right.name in (operations or ()))
    return rights if Right.DESCRIBE in rights else None


def principal_of(settings: KafkaSettings) -> str:
    """Return by which name the brokers' ACLs know this client, as far as its settings tell."""
    if settings.security_protocol.startswith("SASL"):
        if settings.sasl_mechanism == "OAUTHBEARER":
            return f"the subject of the token of client {settings.sasl_oauth_client_id!r}"
        return f"User:{settings.sasl_username}" if settings.sasl_username else "this client's user"
    if settings.security_protocol == "SSL" and settings.ssl_certfile is not None:
        return f"the subject of the certificate {settings.ssl_certfile.name}"
    return "User:ANONYMOUS"


def _config(admin: Any, name: str) -> tuple[TopicConfig | None, str]:
    resource = DescribeConfigsRequest.DescribeConfigsResource
    request = DescribeConfigsRequest(
        resources=[resource(resource_type=_TOPIC, resource_name=name, configuration_keys=list(_NAMES))],
        include_synonyms=False,
        include_documentation=False,
    )
    try:
        (result,) = admin._manager.run(admin._manager.send, request).results
    except errors.KafkaError as error:  # an old broker, or one of another make; events need none of it
        return None, one_line(error, 200)
    except ValueError:
        return None, "no answer"
    if result.error_code == errors.TopicAuthorizationFailedError.errno:
        return None, f"the right {Right.DESCRIBE_CONFIGS} on it is missing"
    if result.error_code:
        return None, errors.for_code(result.error_code).__name__
    return _read({one.name: one.value for one in result.configs}), ""


def _read(values: Mapping[str, str | None]) -> TopicConfig:
    policy = values.get("cleanup.policy") or "delete"
    by_capture_time = values.get("message.timestamp.type") != "LogAppendTime"
    deletes = "delete" in policy.split(",")
    return TopicConfig(
        cleanup_policy=policy,
        max_message_bytes=_number(values.get("max.message.bytes")),
        min_insync_replicas=_number(values.get("min.insync.replicas")),
        retention=_time(values.get("retention.ms")) if by_capture_time and deletes else None,
        oldest_timestamp=_time(values.get("message.timestamp.before.max.ms")) if by_capture_time else None,
    )


def _number(value: str | None) -> int | None:
    try:
        return int(value) if value is not None else None
    except ValueError:
        return None


def _time(value: str | None) -> timedelta | None:
    milliseconds = _number(value)
    if milliseconds is None or not 0 <= milliseconds < _CENTURY_MS:
        return None
    return timedelta(milliseconds=milliseconds)
