"""SASL mechanisms that kafka-python 3.0.12 lacks or has wrong, registered with it where this module is imported.

Registration is the library's own way to add a mechanism (``kafka.net.sasl.register_sasl_mechanism``).
"""

from __future__ import annotations

from typing import Any

from kafka.net.sasl import register_sasl_mechanism
from kafka.net.sasl.scram import SaslMechanismScram

from app.publisher.kafka.oauth import token_provider
from app.settings.connections import KafkaSettings

SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
KERBEROS_SERVICE = "kafka"
"""The service's part of the brokers' principal, for GSSAPI; it is the name that Kafka's documentation has."""


class ScramMechanism(SaslMechanismScram):  # type: ignore[misc]  # the library has no types
    """The library's SCRAM, with a user name that may hold ``,`` and ``=``; the library sends them as they are."""

    def __init__(self, **config: Any) -> None:
        """Take the library's settings, of which ``sasl_plain_username`` is the name as the user wrote it."""
        name = config["sasl_plain_username"]
        super().__init__(**{**config, "sasl_plain_username": escape_name(name)})
        self.username = name


def sasl_options(settings: KafkaSettings) -> dict[str, Any]:
    """Return what the client needs to authenticate; empty where it need not."""
    if not settings.security_protocol.startswith("SASL"):
        return {}
    options: dict[str, Any] = {"sasl_mechanism": settings.sasl_mechanism}
    if settings.sasl_mechanism == "GSSAPI":
        options["sasl_kerberos_service_name"] = KERBEROS_SERVICE
    if settings.sasl_mechanism == "OAUTHBEARER":
        options["sasl_oauth_token_provider"] = token_provider(settings)
    if settings.sasl_username is not None:
        options["sasl_plain_username"] = settings.sasl_username
    if settings.sasl_password is not None:
        options["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    return options


def escape_name(name: str) -> str:
    """Return a user name as it stands in a SCRAM message (``saslname`` of RFC 5802, section 5.1).

    >>> escape_name("a=b,c")
    'a=3Db=2Cc'
    """
    return name.replace("=", "=3D").replace(",", "=2C")


for _name in SCRAM:
    register_sasl_mechanism(_name, ScramMechanism, overwrite=True)
