"""Who may ask the HTTP API for what (contract, section 7)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.bearer import carries_token
from app.web.page import PAGE_FILES
from app.web.problems import problem

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What probes ask for; they carry no token."""
PAGE_PATHS = frozenset(PAGE_FILES)
"""The page itself, which tells nothing of the system: a browser loads it before it can ask its user for the token."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """ASGI middleware: asks for the bearer token where one is set; where none is, lets only this machine write.

    A proxy on this machine, Serve's HAProxy among them, hides who asks: what it passes on seems to come from here. So
    where such a proxy listens for others, a token is a must.
    """

    def __init__(self, application: ASGIApp, token: Callable[[], str | None]) -> None:
        """Guard an application; the token is looked up at each request."""
        self._application = application
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS or _asks_for_the_page(scope):
            await self._application(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        token = self._token()
        if token is not None and not carries_token(connection.headers.get("authorization", ""), token):
            refusal = problem(401, "a bearer token is asked for here, and the request has no valid one")
            refusal.headers["www-authenticate"] = "Bearer"
        elif token is None and scope.get("method") not in _READING and not _is_local(connection):
            refusal = problem(403, "without a token set, changes are taken from this machine only: set SIGHTLINE_TOKEN")
        else:
            await self._application(scope, receive, send)
            return
        await refusal(scope, receive, send)


def _asks_for_the_page(scope: Scope) -> bool:
    return scope["path"] in PAGE_PATHS and scope.get("method") in ("GET", "HEAD")


def _is_local(connection: HTTPConnection) -> bool:
    """Tell whether a program of this machine asks, and no web page that a browser of this machine has open."""
    if connection.client is None or not _is_loopback(connection.client.host):
        return False
    host = connection.headers.get("host", "")
    origin = connection.headers.get("origin")
    # A page of another site can reach loopback by a name of its own (DNS rebinding), or by a plain form.
    return _is_loopback(urlsplit(f"//{host}").hostname or "") and (origin is None or urlsplit(origin).netloc == host)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
