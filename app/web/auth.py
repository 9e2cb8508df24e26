"""Guard: authorises requests to the HTTP API (``proto/README.md``, "The HTTP API")."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.bearer import carries_token
from app.settings.service_address import is_loopback
from app.web.page import PAGE_FILES
from app.web.problems import problem

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths of probes, which carry no token."""
PAGE_PATHS = frozenset(PAGE_FILES)
"""The page itself, which holds nothing about the system: a browser loads it before its user can give the token."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """ASGI middleware: requires the bearer token where one is set, else accepts changes from this machine only.

    A proxy on this machine, Serve's HAProxy included, hides the client: requests through it seem to come from here. So
    where such a proxy is reachable from elsewhere, a token must be set.
    """

    def __init__(self, application: ASGIApp, token: Callable[[], str | None]) -> None:
        """Guard an application; the token is looked up at each request."""
        self._application = application
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on one request."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS or _is_page_request(scope):
            await self._application(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        token = self._token()
        if token is not None and not carries_token(connection.headers.get("authorization", ""), token):
            refusal = problem(401, "a bearer token is required here, and the request has no valid one")
            refusal.headers["www-authenticate"] = "Bearer"
        elif token is None and scope.get("method") not in _READING and not _is_local(connection):
            refusal = problem(
                403, "without a token set, changes are accepted from this machine only: set SIGHTLINE_TOKEN"
            )
        else:
            await self._application(scope, receive, send)
            return
        await refusal(scope, receive, send)


def _is_page_request(scope: Scope) -> bool:
    return scope["path"] in PAGE_PATHS and scope.get("method") in ("GET", "HEAD")


def _is_local(connection: HTTPConnection) -> bool:
    """Return whether the client is a program on this machine, and not a web page open in a browser of this machine."""
    if connection.client is None or not is_loopback(connection.client.host):
        return False
    host = connection.headers.get("host", "")
    origin = connection.headers.get("origin")
    # A page of another site can reach loopback by a name of its own (DNS rebinding), or by a plain form.
    return is_loopback(urlsplit(f"//{host}").hostname or "") and (origin is None or urlsplit(origin).netloc == host)
