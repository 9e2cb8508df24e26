"""Tokens for OAUTHBEARER by client credentials (RFC 6749, section 4.4), kept and renewed before they expire."""

from __future__ import annotations

import base64
import functools
import http.client
import json
import math
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from kafka.net.sasl.oauth import AbstractTokenProvider

from app.core.one_line import one_line
from app.errors import DeliveryUnavailable
from app.publisher.kafka.troubles import Trouble
from app.settings.connections import KafkaSettings

TIMEOUT_S = 3.0
"""For each step of a request; the client's network thread waits for it."""
RENEW_AFTER = 0.8
"""The share of its lifetime after which a token is renewed at its next use; Kafka's Java client has the same. A client
authenticates again at 85 to 95 % of a session, which ends with its token."""
_RETRY_S = 5.0
"""Pause after a failed renewal while the token at hand is still valid."""
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class _Token:
    text: str
    renewed_from: float
    """By the monotonic clock, seconds; so is the other one."""
    expires: float


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # the library has no types
    """Gets tokens from a token endpoint; may be shared by clients and threads."""

    def __init__(self, settings: KafkaSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Prepare for the endpoint of the settings; nothing is asked yet.

        Args:
            settings: with address, client id and secret; its certificate authorities are trusted beside the system's.
            monotonic: seconds.
        """
        super().__init__()
        assert settings.sasl_oauth_token_url is not None
        self._url = settings.sasl_oauth_token_url
        self._settings = settings
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token: _Token | None = None

    def token(self) -> str:
        """Return a token that is valid now.

        Raises:
            DeliveryUnavailable: there is none; one line that does not hold the secret.
        """
        with self._lock:
            now = self._monotonic()
            if self._token is None or now >= self._token.renewed_from:
                try:
                    self._token = self._fetch(now)
                except DeliveryUnavailable:
                    if self._token is None or now >= self._token.expires:
                        raise
                    self._token = _Token(self._token.text, now + _RETRY_S, self._token.expires)
            return self._token.text

    def _fetch(self, now: float) -> _Token:
        client_id = self._settings.sasl_oauth_client_id
        status, body = self._post()
        answer = _mapping(body)
        if status != 200:
            reason = answer.get("error_description") or answer.get("error") or "no reason is given"
            why = one_line(f"HTTP {status}: {reason}", 200)
            raise DeliveryUnavailable(Trouble.TOKEN_REFUSED.say(url=self._url, client=client_id, why=why))
        text, lifetime = answer.get("access_token"), answer.get("expires_in", 0)
        if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text or not text:
            raise DeliveryUnavailable(Trouble.NO_TOKEN.say(url=self._url, why="no access_token"))
        lifetime_s = _seconds(lifetime)
        if lifetime_s is None:
            raise DeliveryUnavailable(Trouble.NO_TOKEN.say(url=self._url, why="expires_in is no number of seconds"))
        return _Token(text, now + lifetime_s * RENEW_AFTER, now + lifetime_s)

    def _post(self) -> tuple[int, bytes]:
        settings, parts = self._settings, urlsplit(self._url)
        assert settings.sasl_oauth_client_id is not None
        assert settings.sasl_oauth_client_secret is not None
        pair = (settings.sasl_oauth_client_id, settings.sasl_oauth_client_secret.get_secret_value())
        account = ":".join(quote_plus(part) for part in pair)  # RFC 6749, section 2.3.1
        fields = {"grant_type": "client_credentials"}
        if settings.sasl_oauth_scope:
            fields["scope"] = settings.sasl_oauth_scope
        headers = {
            "Authorization": "Basic " + base64.b64encode(account.encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(parts.scheme, str(parts.hostname), parts.port)
        try:
            connection.request("POST", path, urlencode(fields), headers)
            response = connection.getresponse()
            return response.status, response.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else one_line(error, 200)
            raise DeliveryUnavailable(
                Trouble.NO_TOKEN_SERVER.say(url=self._url, why=reason or type(error).__name__)
            ) from None
        finally:
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        """Return a connection, which takes no proxy of the environment and follows no redirect."""
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=_context(self._settings.ssl_cafile))


@functools.lru_cache(maxsize=4)
def token_provider(settings: KafkaSettings) -> ClientCredentials:
    """Return the token provider of these settings: one, so that the clients of a process share its token."""
    return ClientCredentials(settings)


def _context(cafile: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if cafile is not None:
        context.load_verify_locations(cafile)
    return context


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value)  # type: ignore[arg-type]  # whatever the endpoint answers
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _mapping(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
