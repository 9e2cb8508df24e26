"""Diagnosis: why a broker cannot be used, found out step by step, one sentence a broker.

kafka-python tries every address, and says of all that fails only that it is "unable to bootstrap". This asks again,
with the same settings: connect, TLS handshake, the listener's protocol, SASL mechanism and credentials, and whether the
brokers that it advertises can be reached.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from kafka import errors
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse
from kafka.protocol.sasl import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

from app.core.one_line import one_line
from app.errors import DeliveryUnavailable
from app.publisher.kafka.sasl import KERBEROS_SERVICE, sasl_options
from app.publisher.kafka.troubles import Trouble
from app.settings.connections import KafkaSettings

TIMEOUT_S = 3.0
"""For each step: a diagnosis of several addresses should end while somebody still waits for it."""
_MOST_BYTES = 10_000_000
_HOST_MISMATCH = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (OpenSSL, x509_vfy.h)."""
_ILLEGAL_SASL_STATE, _UNSUPPORTED_MECHANISM = 34, 33


class _Wrong(Exception):
    """What is wrong with one broker."""

    def __init__(self, trouble: Trouble, **facts: object) -> None:
        super().__init__(trouble.say(**facts))
        self.trouble = trouble


@dataclass(frozen=True)
class _Peer:
    """A broker's address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def diagnose(settings: KafkaSettings, bootstrap: Sequence[str]) -> str:
    """Return what is wrong with each address, one sentence an address; those without a fault are left out.

    Never raises; it may take some seconds an address.
    """
    return "; ".join(find_faults(settings, bootstrap))


def find_faults(settings: KafkaSettings, bootstrap: Sequence[str]) -> dict[str, Trouble | None]:
    """Return the sentences of :func:`diagnose`, in the order of the addresses, each with its trouble.

    ``None`` stands for a token that cannot be had; several addresses with the same sentence have one entry.
    """
    found: dict[str, Trouble | None] = {}
    for address in bootstrap:
        host, _, port = address.rpartition(":")
        try:
            _check(settings, _Peer(host.strip("[]"), int(port)))
        except _Wrong as wrong:
            found[str(wrong)] = wrong.trouble
        except DeliveryUnavailable as no_token:
            found[str(no_token)] = None
        except Exception as error:  # noqa: BLE001 - an answer that cannot be read raises anything
            trouble = Trouble.NOT_UNDERSTOOD
            found[trouble.say(peer=address, why=one_line(error, 100))] = trouble
    return found


def first_to_answer(settings: KafkaSettings, bootstrap: Sequence[str]) -> tuple[str, ...]:
    """Return the address that answers first, of several; all of them where none answers, or where there is one only.

    kafka-python takes one at random, and waits for it until the whole time for a connection has passed. A broker that
    is halted accepts connections and never answers: it would cost this time at every third try.
    """
    if len(bootstrap) < 2:
        return tuple(bootstrap)
    pool = ThreadPoolExecutor(len(bootstrap), thread_name_prefix="kafka-bootstrap")
    asked = {pool.submit(_answers, settings, address): address for address in bootstrap}
    pool.shutdown(wait=False)  # those that do not answer end by their own time-outs
    return next(((asked[done],) for done in as_completed(asked) if done.result()), tuple(bootstrap))


def _answers(settings: KafkaSettings, address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with _connected(settings, _Peer(host.strip("[]"), int(port))) as connection:
            _ask(connection, ApiVersionsRequest(), ApiVersionsResponse, 0)
            return True
    except Exception:  # noqa: BLE001 - why it does not is found out by diagnose
        return False


def _check(settings: KafkaSettings, peer: _Peer) -> None:
    tls = settings.security_protocol.endswith("SSL")
    with _connected(settings, peer) as connection:
        try:
            _ask(connection, ApiVersionsRequest(), ApiVersionsResponse, 0)
        except (OSError, EOFError) as error:
            if tls and isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
                # With TLS 1.3 a client has finished its handshake before the server judges its certificate.
                trouble = Trouble.CLIENT_CERTIFICATE if settings.ssl_certfile else Trouble.NO_CLIENT_CERTIFICATE
                raise _Wrong(trouble, peer=peer, why=_alert(error)) from None
            if not tls and _speaks_tls(peer):
                wanted = "SASL_SSL" if settings.security_protocol.startswith("SASL") else "SSL"
                raise _Wrong(Trouble.SPEAKS_TLS, peer=peer, protocol=wanted) from None
            raise _Wrong(Trouble.NOT_KAFKA, peer=peer) from None
        if settings.security_protocol.startswith("SASL"):
            _authenticate(settings, peer, connection)
        try:
            metadata = _ask(
                connection, MetadataRequest(topics=[], allow_auto_topic_creation=False), MetadataResponse, 4
            )
        except (OSError, EOFError):
            mechanisms = _mechanisms(settings, peer)
            if mechanisms:
                wanted = "SASL_SSL" if tls else "SASL_PLAINTEXT"
                raise _Wrong(Trouble.NO_CREDENTIALS, peer=peer, mechanisms=mechanisms, protocol=wanted) from None
            raise _Wrong(Trouble.CLOSED, peer=peer) from None
    for broker in metadata.brokers:
        advertised = _Peer(broker.host, broker.port)
        try:
            _connect(advertised).close()
        except _Wrong as wrong:
            facts = {"peer": peer, "node": broker.node_id, "advertised": advertised, "why": wrong}
            raise _Wrong(Trouble.ADVERTISED, **facts) from None


def _connect(peer: _Peer) -> socket.socket:
    try:
        return socket.create_connection((peer.host, peer.port), TIMEOUT_S)
    except socket.gaierror:
        raise _Wrong(Trouble.UNKNOWN_HOST, host=peer.host) from None
    except ConnectionRefusedError:
        raise _Wrong(Trouble.NOTHING_LISTENS, peer=peer) from None
    except TimeoutError:
        raise _Wrong(Trouble.NO_ANSWER, peer=peer, seconds=TIMEOUT_S) from None
    except OSError as error:
        raise _Wrong(Trouble.UNREACHABLE, peer=peer, why=error.strerror or one_line(error)) from None


@contextlib.contextmanager
def _connected(settings: KafkaSettings, peer: _Peer) -> Iterator[socket.socket]:
    """Connect, over TLS where that is set, with the checks that the client makes."""
    plain = _connect(peer)
    with contextlib.closing(plain):
        if not settings.security_protocol.endswith("SSL"):
            yield plain
            return
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        if settings.ssl_certfile is not None:
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
        try:
            secured = context.wrap_socket(plain, server_hostname=peer.host)
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in _HOST_MISMATCH:
                raise _Wrong(Trouble.WRONG_HOST_NAME, peer=peer) from None
            raise _Wrong(Trouble.UNTRUSTED, peer=peer, why=error.verify_message) from None
        except OSError as error:
            if _speaks_plainly(peer):
                wanted = "SASL_PLAINTEXT" if settings.security_protocol.startswith("SASL") else "PLAINTEXT"
                raise _Wrong(Trouble.SPEAKS_PLAIN, peer=peer, protocol=wanted) from None
            raise _Wrong(Trouble.HANDSHAKE, peer=peer, why=one_line(error, 100)) from None
        with contextlib.closing(secured):
            yield secured


def _alert(error: ssl.SSLError) -> str:
    """Return what a TLS alert says, for instance "certificate required"."""
    return str(error.reason).partition("ALERT_")[2].replace("_", " ").lower() or one_line(error, 100)


def _speaks_tls(peer: _Peer) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent over it
    try:
        with _connect(peer) as plain, context.wrap_socket(plain):
            return True
    except (OSError, _Wrong):
        return False


def _speaks_plainly(peer: _Peer) -> bool:
    try:
        with _connect(peer) as plain:
            _ask(plain, ApiVersionsRequest(), ApiVersionsResponse, 0)
            return True
    except (OSError, EOFError, _Wrong):
        return False


def _authenticate(settings: KafkaSettings, peer: _Peer, connection: socket.socket) -> None:
    name = str(settings.sasl_mechanism)
    answer = _ask(connection, SaslHandshakeRequest(mechanism=name), SaslHandshakeResponse, 1)
    if answer.error_code == _ILLEGAL_SASL_STATE:
        wanted = settings.security_protocol.removeprefix("SASL_")
        raise _Wrong(Trouble.CREDENTIALS_UNASKED, peer=peer, protocol=wanted)
    # Tansu refuses SASL so, and lists the very mechanism that was asked for.
    if answer.error_code == _UNSUPPORTED_MECHANISM and name not in answer.mechanisms:
        enabled = ", ".join(answer.mechanisms)
        raise _Wrong(Trouble.MECHANISM, mechanism=name, peer=peer, mechanisms=enabled)
    options = {"security_protocol": settings.security_protocol, **sasl_options(settings)}
    try:
        mechanism = get_sasl_mechanism(name)(host=peer.host, **options)
    except Exception as error:
        if name != "GSSAPI":
            raise
        # Of gssapi, which is there only where it is used: Kerberos is asked as the mechanism is made.
        facts = {"service": KERBEROS_SERVICE, "peer": peer, "why": one_line(error, 200)}
        raise _Wrong(Trouble.NO_TICKET, **facts) from None
    while not mechanism.is_done():
        step = SaslAuthenticateRequest(auth_bytes=mechanism.auth_bytes())
        answer = _ask(connection, step, SaslAuthenticateResponse, 0)
        if answer.error_code:
            reason = one_line(answer.error_message or errors.for_code(answer.error_code).__name__, 200)
            if name == "OAUTHBEARER":
                raise _Wrong(Trouble.TOKEN, peer=peer, client=settings.sasl_oauth_client_id, why=reason)
            raise _Wrong(Trouble.CREDENTIALS, peer=peer, user=settings.sasl_username, why=reason)
        mechanism.receive(answer.auth_bytes)


def _mechanisms(settings: KafkaSettings, peer: _Peer) -> str:
    """Return the SASL mechanisms that a listener has enabled; empty where it has none."""
    try:
        with _connected(settings, peer) as connection:
            answer = _ask(connection, SaslHandshakeRequest(mechanism="none"), SaslHandshakeResponse, 1)
            return ", ".join(answer.mechanisms)
    except (OSError, EOFError, _Wrong):
        return ""


def _ask(connection: socket.socket, request: Any, response: Any, version: int) -> Any:
    """Send a request and return its answer.

    Raises:
        OSError: the connection broke, or no answer came in time.
        EOFError: the peer closed the connection, or speaks something else.
    """
    request.API_VERSION = version
    request.with_header(1, "sightline-doctor")
    connection.sendall(request.encode(header=True, framed=True))
    (size,) = struct.unpack(">i", _read(connection, 4))
    if not 0 < size < _MOST_BYTES:
        raise EOFError
    return response.decode(_read(connection, size), version=version, header=True)


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data
