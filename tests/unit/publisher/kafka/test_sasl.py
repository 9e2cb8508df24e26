"""Authentication: SCRAM names by RFC 5802, and tokens by client credentials from a real HTTP server."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from kafka.net.sasl import get_sasl_mechanism

from app.core.ports import free_port
from app.errors import DeliveryUnavailable
from app.publisher.kafka.connection import client_options
from app.publisher.kafka.oauth import RENEW_AFTER, ClientCredentials
from app.settings.connections import KafkaSettings
from tests.support.certificates import Authority
from tests.support.token_server import TokenServer

# SCRAM


def settings(mechanism: str, **fields: object) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=("k:9093",), security_protocol="SASL_SSL", sasl_mechanism=mechanism, **fields
    )


def accepts(message_1: bytes, message_2: bytes, server_first: bytes, password: bytes, digest: str) -> bytes | None:
    """Check the client's proof as a server does (RFC 5802, section 3); return the server's last message."""
    attributes = dict(part.split("=", 1) for part in server_first.decode().split(","))
    salt, rounds = base64.b64decode(attributes["s"]), int(attributes["i"])
    salted = hashlib.pbkdf2_hmac(digest, password, salt, rounds)
    stored = hashlib.new(digest, hmac.digest(salted, b"Client Key", digest)).digest()
    bare, (without_proof, proof) = message_1.removeprefix(b"n,,"), message_2.rsplit(b",p=", 1)
    signed = b",".join([bare, server_first, without_proof])
    key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), hmac.digest(stored, signed, digest), strict=True))
    if hashlib.new(digest, key).digest() != stored:
        return None
    return b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", digest), signed, digest))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize(
    ("name", "sent"), [("ann", "ann"), ("a,b", "a=2Cb"), ("a=b", "a=3Db"), ("=2C", "=3D2C"), ("ü", "ü")]
)
def test_a_scram_name_is_sent_as_rfc_5802_says_and_the_proof_covers_what_is_sent(mechanism: str, name: str, sent: str):
    options = client_options(settings(mechanism, sasl_username=name, sasl_password="pencil"), ("k:9093",))
    client = get_sasl_mechanism(mechanism)(host="k", **options)
    first = client.auth_bytes()
    nonce = first.decode().rsplit(",r=", 1)[1]
    assert first.decode() == f"n,,n={sent},r={nonce}"
    server_first = f"r={nonce}more,s={base64.b64encode(b'salt').decode()},i=4096".encode()
    client.receive(server_first)
    last = accepts(first, client.auth_bytes(), server_first, b"pencil", mechanism[6:].replace("-", "").lower())
    assert last is not None
    client.receive(last)
    assert client.is_authenticated()
    assert name in client.auth_details()


# OAUTHBEARER


def asking(server: TokenServer, **fields: object) -> KafkaSettings:
    given = {"sasl_oauth_client_id": server.client, "sasl_oauth_client_secret": server.secret} | fields
    return settings("OAUTHBEARER", sasl_oauth_token_url=server.url, **given)


def test_a_token_is_asked_for_by_client_credentials_kept_and_renewed_before_it_expires():
    now = 100.0
    with TokenServer(lifetime_s=1000) as server:
        tokens = ClientCredentials(asking(server, sasl_oauth_scope="kafka write"), monotonic=lambda: now)
        first = tokens.token()
        now += 1000 * RENEW_AFTER - 1
        assert tokens.token() == first
        assert server.asked == [{"grant_type": "client_credentials", "scope": "kafka write"}]
        now += 1
        assert tokens.token() != first
        assert len(server.asked) == 2


def test_a_token_that_is_still_valid_is_used_while_the_endpoint_fails_and_no_longer():
    now = 100.0
    with TokenServer(lifetime_s=1000) as server:
        tokens = ClientCredentials(asking(server), monotonic=lambda: now)
        first = tokens.token()
        server.answer = (503, b"down")
        now += 990
        assert [tokens.token(), tokens.token()] == [first, first]
        assert len(server.asked) == 2  # a failed renewal is not tried again at once
        now += 11
        with pytest.raises(DeliveryUnavailable, match="HTTP 503"):
            tokens.token()
        server.answer = None
        assert tokens.token() != first


def test_a_token_without_a_lifetime_is_used_once():
    with TokenServer() as server:
        server.answer = (200, b'{"access_token": "abc", "token_type": "Bearer"}')
        tokens = ClientCredentials(asking(server))
        assert [tokens.token(), tokens.token()] == ["abc", "abc"]
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        ((200, b"<html>"), "gives no token (no access_token)"),
        ((200, b"[]"), "gives no token (no access_token)"),
        ((200, b'{"access_token": "a\\u0001b"}'), "gives no token (no access_token)"),
        ((200, b'{"access_token": "abc", "expires_in": "soon"}'), "expires_in is no number of seconds"),
        ((302, b""), "refuses client 'sightline' (HTTP 302: no reason is given)"),
        ((400, b'{"error": "invalid_scope"}'), "refuses client 'sightline' (HTTP 400: invalid_scope)"),
    ],
)
def test_whatever_the_endpoint_answers_the_error_is_one_line(answer: tuple[int, bytes], reported: str):
    with TokenServer(answer=answer) as server, pytest.raises(DeliveryUnavailable) as raised:
        ClientCredentials(asking(server)).token()
    assert str(raised.value).endswith(reported) or reported in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_secret_is_reported_with_the_endpoint_s_reason_and_shown_nowhere():
    with TokenServer() as server, pytest.raises(DeliveryUnavailable) as raised:
        ClientCredentials(asking(server, sasl_oauth_client_secret="hush-hush")).token()
    said = str(raised.value)
    assert said == (
        f"the token endpoint {server_url(said)} refuses client 'sightline' (HTTP 401: unknown client or wrong secret)"
    )
    assert "hush" not in repr(ClientCredentials(asking_nobody()))


def server_url(said: str) -> str:
    return said.split()[3]


def asking_nobody() -> KafkaSettings:
    return settings(
        "OAUTHBEARER",
        sasl_oauth_token_url=f"http://127.0.0.1:{free_port()}/token",
        sasl_oauth_client_id="sightline",
        sasl_oauth_client_secret="hush-hush",
    )


def test_an_endpoint_that_is_not_there_is_reported():
    with pytest.raises(DeliveryUnavailable, match=r"does not answer \(.*refused\)"):
        ClientCredentials(asking_nobody()).token()


def test_the_endpoint_s_certificate_is_checked_against_the_authorities_of_the_settings(tmp_path: Path):
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs", "another authority")
    with TokenServer(pair=ours.issue("login")) as server:
        assert ClientCredentials(asking(server, ssl_cafile=ours.certificate)).token()
        for cafile in (None, theirs.certificate):
            with pytest.raises(DeliveryUnavailable, match=r"does not answer \(unable to get local issuer"):
                ClientCredentials(asking(server, ssl_cafile=cafile)).token()


def test_the_clients_of_a_process_share_a_token():
    with TokenServer() as server:
        asked = asking(server)
        tokens = {client_options(asked, ("k:9093",))["sasl_oauth_token_provider"].token() for _ in range(3)}
    assert len(tokens) == len(server.asked) == 1
