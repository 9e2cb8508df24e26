"""The settings of the connections: to Kafka, and of cameras to the service."""

from __future__ import annotations

import importlib
import re
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from app.core.channel import Channel
from app.core.read_failure import read_failure
from app.errors import SettingsError
from app.settings.duration import Duration
from app.settings.service_address import is_loopback

_BROKER = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(\d{1,5})$")


class Frozen(BaseModel):
    """A group of settings: never changed, and without a key that is not a setting."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def commas(value: object) -> object:
    """Return the parts of a comma-separated string; any other value as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _brokers(value: tuple[str, ...]) -> tuple[str, ...]:
    for part in value:
        match = _BROKER.match(part)
        if match is None or not 0 < int(match.group(2)) < 65536:
            raise ValueError("allowed is a comma list of host:port")
    return value


def _token_url(value: str | None) -> str | None:
    if value is None:
        return None
    allowed = "allowed is https://host[:port]/path without an account; http:// to a loopback address only"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(allowed) from None
    named = parts.hostname and port != 0 and parts.username is None and not parts.fragment
    if not named or not re.fullmatch(r"[!-~]+", value):
        raise ValueError(allowed)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(str(parts.hostname))):
        raise ValueError(allowed)
    return value


class TlsSettings(Frozen):
    """Files (PEM) for a camera's ``grpcs://`` connection."""

    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None

    @model_validator(mode="after")
    def _paired(self) -> TlsSettings:
        if (self.certfile is None) != (self.keyfile is None):
            raise ValueError("the settings SIGHTLINE_TLS_CERTFILE and SIGHTLINE_TLS_KEYFILE come together")
        return self


def _null(value: object) -> object:
    """Return nothing for the word that says so in an environment variable."""
    return None if value == "null" else value


Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class KafkaSettings(Frozen):
    """Where events go."""

    enabled: bool = True
    """``False``: detections are answered and counted, nothing is published."""
    bootstrap_servers: Annotated[tuple[str, ...], BeforeValidator(commas), AfterValidator(_brokers)] = ()
    """Empty: the embedded broker."""
    topic: Topic = "events.detections"
    anomalies_topic: Annotated[Topic | None, BeforeValidator(_null)] = "events.anomalies"
    """Where incidents begin, change and end; ``None``: they are in the events alone."""
    objects_topic: Annotated[Topic | None, BeforeValidator(_null)] = "events.objects"
    """Where objects appear, change and are lost; ``None``: that is not published."""
    create_topic: bool = False
    """Whether to create a topic where it is missing; the embedded broker's are always created."""
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Partitions of a topic that Sightline creates."""
    publish_empty: bool = True
    """Whether a frame without detections is published."""
    max_event_age: Duration = timedelta(days=7)
    """How old an event may be: an older ``captured_at`` is refused. Also the age at which what waited in the spool is
    set aside, where the topic's own ``retention.ms`` cannot be read (7 days are Kafka's default of that)."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_oauth_token_url: Annotated[str | None, AfterValidator(_token_url)] = None
    """Token endpoint that OAUTHBEARER asks by client credentials."""
    sasl_oauth_client_id: str | None = None
    sasl_oauth_client_secret: SecretStr | None = None
    sasl_oauth_scope: str | None = None
    """Scopes, separated by spaces; ``None``: the endpoint's own."""
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None

    @model_validator(mode="after")
    def _topics_differ(self) -> KafkaSettings:
        named = [name for name in (self.topic, self.anomalies_topic, self.objects_topic) if name is not None]
        for name in named:
            if named.count(name) > 1:
                raise ValueError(f"the settings topic, anomalies_topic and objects_topic name {name!r} twice")
        return self

    @property
    def embedded(self) -> bool:
        """Whether the embedded broker serves the topics."""
        return self.enabled and not self.bootstrap_servers

    @property
    def channel_topics(self) -> dict[Channel, str]:
        """The topics beside that of the detections, by what goes there; without those that are turned off."""
        topics: dict[Channel, str] = {}
        if self.anomalies_topic is not None:
            topics["anomalies"] = self.anomalies_topic
        if self.objects_topic is not None:
            topics["objects"] = self.objects_topic
        return topics

    def of_topic(self, topic: str) -> KafkaSettings:
        """Return the same settings for another topic, and for it alone."""
        return self.model_copy(update={"topic": topic, "anomalies_topic": None, "objects_topic": None})


def check_security(kafka: KafkaSettings, tls: TlsSettings) -> None:
    """Check that the files and settings that secure a connection exist and fit together.

    Raises:
        SettingsError: a file is missing, or a setting that another one requires.
    """
    files = {
        "SIGHTLINE_TLS_CAFILE": tls.cafile,
        "SIGHTLINE_TLS_CERTFILE": tls.certfile,
        "SIGHTLINE_TLS_KEYFILE": tls.keyfile,
        "KAFKA_SSL_CAFILE": kafka.ssl_cafile,
        "KAFKA_SSL_CERTFILE": kafka.ssl_certfile,
        "KAFKA_SSL_KEYFILE": kafka.ssl_keyfile,
    }
    for name, file in files.items():
        if file is not None and not file.is_file():
            where = "" if file.is_absolute() else f" (it was looked for in {Path.cwd()})"
            raise SettingsError(f"{name}: {str(file)!r} does not exist{where}; allowed is a PEM file")
    _check_pems("SIGHTLINE_TLS", tls.cafile, tls.certfile, tls.keyfile)
    _check_pems("KAFKA_SSL", kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile)
    if not kafka.security_protocol.startswith("SASL"):
        return
    protocol = f"KAFKA_SECURITY_PROTOCOL: {kafka.security_protocol!r}"
    if kafka.sasl_mechanism is None:
        raise SettingsError(f"{protocol} needs KAFKA_SASL_MECHANISM, for instance SCRAM-SHA-512")
    by_password = kafka.sasl_mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    if by_password and not (kafka.sasl_username and kafka.sasl_password):
        raise SettingsError(f"{protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
    if kafka.sasl_mechanism == "GSSAPI":
        _require_gssapi()
    by_token = (kafka.sasl_oauth_token_url, kafka.sasl_oauth_client_id, kafka.sasl_oauth_client_secret)
    if kafka.sasl_mechanism == "OAUTHBEARER" and not all(by_token):
        raise SettingsError(
            "KAFKA_SASL_MECHANISM: 'OAUTHBEARER' needs KAFKA_SASL_OAUTH_TOKEN_URL, KAFKA_SASL_OAUTH_CLIENT_ID and "
            "KAFKA_SASL_OAUTH_CLIENT_SECRET"
        )


def _require_gssapi() -> None:
    try:
        importlib.import_module("gssapi")
    except (ImportError, OSError):  # OSError: the package is there, and Kerberos' own libraries are not
        raise SettingsError(
            "KAFKA_SASL_MECHANISM: 'GSSAPI' needs the Python package gssapi with Kerberos' libraries, which cannot be "
            "loaded here; allowed without it are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER"
        ) from None


def _check_pems(prefix: str, cafile: Path | None, certfile: Path | None, keyfile: Path | None) -> None:
    """Check that the files that a handshake needs can be read: the handshake would fail without a reason."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if cafile is not None:
            context.load_verify_locations(cafile)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"{prefix}_CAFILE: {str(cafile)!r} holds no certificates: {read_failure(error)}") from None
    try:
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile, password=lambda: "")  # it must not ask on the terminal
    except (ssl.SSLError, OSError) as error:
        pair = f"{str(certfile)!r} and its key {str(keyfile or certfile)!r} do not fit together"
        raise SettingsError(f"{prefix}_CERTFILE: {pair}: {read_failure(error)}") from None
