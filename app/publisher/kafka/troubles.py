"""Every trouble with Kafka and the one sentence that reports it: in ``doctor``, status, page and log.

``configs/README.md``, "What is said of Kafka" shows the same table, and a test compares the two.
"""

from __future__ import annotations

from enum import Enum


class Trouble(Enum):
    """What is wrong, in words for the documents, and the sentence, with its facts in braces."""

    UNKNOWN_HOST = ("the name cannot be resolved", "the host name {host!r} is not known")
    NOTHING_LISTENS = ("the port is closed", "nothing listens on {peer}")
    NO_ANSWER = ("no answer", "{peer} does not answer within {seconds:g} s")
    UNREACHABLE = ("no route, and the like", "{peer} cannot be reached ({why})")
    NOT_KAFKA = ("another program", "{peer} accepts connections, and does not answer as a Kafka broker")
    NOT_UNDERSTOOD = ("an answer of no known form", "{peer} gives no answer that can be understood ({why})")
    CLOSED = ("closed after the greeting", "{peer} closes the connection without a reason")
    ADVERTISED = (
        "an advertised address that cannot be reached",
        "{peer} answers, and advertises its broker {node} as {advertised}, which cannot be reached ({why}): "
        "advertised.listeners of that broker has to name an address that is reachable from here",
    )
    SPEAKS_TLS = ("TLS expected, plain spoken", "{peer} speaks TLS: set KAFKA_SECURITY_PROTOCOL to {protocol}")
    SPEAKS_PLAIN = (
        "plain expected, TLS spoken",
        "{peer} does not speak TLS: set KAFKA_SECURITY_PROTOCOL to {protocol}",
    )
    WRONG_HOST_NAME = (
        "the host name does not match",
        "the certificate of {peer} is for another host name: reach it by a name in the certificate",
    )
    UNTRUSTED = (
        "an untrusted certificate",
        "the certificate of {peer} is not trusted ({why}): KAFKA_SSL_CAFILE has to name the authority that signed it",
    )
    HANDSHAKE = ("TLS fails otherwise", "the TLS handshake with {peer} fails ({why})")
    NO_CLIENT_CERTIFICATE = (
        "a client certificate is asked for",
        "{peer} asks for a client certificate ({why}): set KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE",
    )
    CLIENT_CERTIFICATE = (
        "the client certificate is refused",
        "{peer} does not accept the client certificate ({why}): KAFKA_SSL_CERTFILE has to be one that it trusts",
    )
    NO_CREDENTIALS = (
        "credentials are asked for",
        "{peer} asks for credentials ({mechanisms} are enabled): set KAFKA_SECURITY_PROTOCOL to {protocol}",
    )
    CREDENTIALS_UNASKED = (
        "credentials that nobody asks for",
        "{peer} takes no credentials: set KAFKA_SECURITY_PROTOCOL to {protocol}",
    )
    MECHANISM = (
        "the mechanism is not enabled",
        "the mechanism {mechanism} is not enabled at {peer}; enabled: {mechanisms} (KAFKA_SASL_MECHANISM)",
    )
    CREDENTIALS = ("wrong password", "{peer} refuses the credentials of user {user!r} ({why})")
    TOKEN = ("the broker refuses the token", "{peer} refuses the token of client {client!r} ({why})")
    NO_TOKEN_SERVER = ("no token server", "the token endpoint {url} does not answer ({why})")
    TOKEN_REFUSED = ("no token for this client", "the token endpoint {url} refuses client {client!r} ({why})")
    NO_TOKEN = ("an answer without a token", "the token endpoint {url} gives no token ({why})")
    NO_TICKET = (
        "no Kerberos ticket",
        "Kerberos gives no ticket for the service {service!r} of {peer} ({why}): kinit, or set KRB5_CLIENT_KTNAME",
    )
    TOPIC_MISSING = (
        "no such topic",
        "the topic {topic!r} does not exist; create it, or set kafka.create_topic in the settings file",
    )
    RIGHT = ("a missing right", "Kafka denies {principal} the right {operation} on {resource}: grant it with an ACL")
    EXPIRED = (
        "an event older than the topic keeps",
        "the event is {age} old, and {keeper} keeps events for {keeps}: it would be deleted at once",
    )
    COMPACTED = (
        "a compacted topic",
        "cleanup.policy of the topic {topic!r} is {policy}: Kafka deletes all but the last event of each camera",
    )
    SMALL_RECORDS = (
        "a limit of size that is too low",
        "max.message.bytes of the topic {topic!r} is {limit}, and a frame of {count} detections needs {needed}: such "
        "an event would be set aside",
    )
    LARGE_RECORDS = (
        "more detections than a record holds",
        "a frame of {count} detections needs {needed} bytes, and the client sends {limit}: lower "
        "DETECTOR_MAX_DETECTIONS",
    )
    SHORT_RETENTION = (
        "the topic keeps events too shortly",
        "retention.ms of the topic {topic!r} is {limit}, and the spool bridges an outage of {bridged}: what is older "
        "then would be set aside",
    )
    SHORT_TIMESTAMPS = (
        "the topic refuses events too early",
        "message.timestamp.before.max.ms of the topic {topic!r} is {limit}, and the spool bridges an outage of "
        "{bridged}: what is older then would be set aside",
    )
    ONE_REPLICA = (
        "one replica",
        "the topic {topic!r} has one replica: its events are lost with the disk of one broker",
    )
    ONE_IN_SYNC = (
        "one replica need be in sync",
        "min.insync.replicas of the topic {topic!r} is 1: an acknowledged event may be on one broker only",
    )
    UNREADABLE_TOPIC = (
        "the topic's settings are not shown",
        "the settings of the topic {topic!r} cannot be read ({why}): retention, size and cleanup.policy are not "
        "checked",
    )
    UNKNOWN_RIGHTS = (
        "rights are not shown",
        "the brokers do not say what {principal} may do: that it may write to the topic {topic!r} is not checked",
    )
    NO_PRODUCER_ID = (
        "no producer id",
        "no producer id is given out within {seconds:g} s ({why})",
    )
    NO_BROKER = ("anything else, while connecting", "no Kafka broker can be used at {bootstrap}: {why}")
    NOT_NOW = ("anything else, while sending", "Kafka cannot take the event now: {why}")

    def __init__(self, name: str, sentence: str) -> None:
        self.title = name
        """A few words for the documents."""
        self.sentence = sentence
        """With its facts in braces."""

    def say(self, **facts: object) -> str:
        """Return the sentence with its facts, each of the names in braces."""
        return self.sentence.format(**facts)
