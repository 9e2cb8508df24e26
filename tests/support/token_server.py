"""TokenServer: an OAuth 2.0 token endpoint for client credentials, with tokens signed by RS256, and its JWKS."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.certificates import Pair

ISSUER, AUDIENCE = "https://login.example/", "kafka"
JWKS = "/keys"


@dataclass
class TokenServer:
    """A context manager; a real HTTP server, over TLS where it is given a certificate."""

    client: str = "sightline"
    secret: str = "s:cr%t ü"
    subject: str = "cameras"
    lifetime_s: float = 3600.0
    pair: Pair | None = None
    answer: tuple[int, bytes] | None = None
    """Given to every request, instead of a token."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """The fields of each request for a token that came, whatever was answered."""
    keys_asked: int = 0
    """How often the JSON Web Key Set was asked for."""

    def __post_init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def url(self) -> str:
        """The token endpoint."""
        return self._address("/oauth2/token")

    @property
    def jwks_url(self) -> str:
        """The address of the public key, a JSON Web Key Set (RFC 7517)."""
        return self._address(JWKS)

    def _address(self, path: str) -> str:
        scheme = "http" if self.pair is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.server_port}{path}"

    def __enter__(self) -> TokenServer:
        home = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._send(*home._answer(self.headers.get("Authorization", ""), body))

            def do_GET(self) -> None:
                home.keys_asked += self.path == JWKS
                self._send(*((200, home._keys()) if self.path == JWKS else (404, b"")))

            def _send(self, status: int, answer: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if self.pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.pair.certificate, self.pair.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _keys(self) -> bytes:
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256"}
        key |= {name: _encoded(_bytes(number)) for name, number in (("n", numbers.n), ("e", numbers.e))}
        return _json({"keys": [key]})

    def _answer(self, authorization: str, body: str) -> tuple[int, bytes]:
        fields = {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}
        self.asked.append(fields)
        if self.answer is not None:
            return self.answer
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        if [unquote_plus(part) for part in pair] != [self.client, self.secret]:
            return 401, _json({"error": "invalid_client", "error_description": "unknown client\nor wrong secret"})
        if fields.get("grant_type") != "client_credentials":
            return 400, _json({"error": "unsupported_grant_type"})
        token = self._sign(fields.get("scope", ""))
        return 200, _json({"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_s})

    def _sign(self, scope: str) -> str:
        now = time.time()
        claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": self.subject, "scope": scope}
        claims |= {"iat": int(now), "exp": int(now + self.lifetime_s), "jti": str(len(self.asked))}
        parts = [_encoded(_json(part)) for part in ({"alg": "RS256", "kid": "1", "typ": "JWT"}, claims)]
        signed = self._key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        return ".".join([*parts, _encoded(signed)])


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)
