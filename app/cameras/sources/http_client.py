"""HttpClient: GET requests to one camera over one connection that is kept."""

from __future__ import annotations

import http.client
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from app.cameras.sources.authorization import Authorization, parse_challenges, why_refused
from app.cameras.sources.http_body import Body
from app.cameras.sources.http_connection import HttpConnection, proxy_headers, proxy_of
from app.errors import SourceRefused, SourceUnavailable
from app.settings.source_url import SourceUrl

NO_ANSWER = "no answer within its time-out"
_MOST_REDIRECTS = 5
_MOST_SKIPPED_BYTES = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ProtocolFault(Exception):
    """What the server answered is not HTTP/1.0 or HTTP/1.1; another client may be more tolerant."""


@dataclass(frozen=True)
class Answer:
    """The header of one response."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""

    @property
    def media_type(self) -> str:
        """The type of the body in lower case, without parameters; empty where none is named."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class HttpClient:
    """Asks one address again and again, with its account and its redirects.

    Used by one thread; ``interrupt`` may be called from others.
    """

    def __init__(self, url: SourceUrl, timeout_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Make a client that is not connected; ``timeout_s`` limits connecting, and each wait for bytes."""
        self._url = url
        self._timeout_s = timeout_s
        self._connection = HttpConnection(timeout_s)
        self._body: Body | None = None
        self._monotonic = monotonic
        self._target = urlsplit(url.reveal())
        self._authorization = Authorization(unquote(self._target.username or ""), unquote(self._target.password or ""))
        self._origin = _origin(self._target)

    def get(self, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and wait for the header of its response; the body of the one before must have been read.

        Raises:
            SourceRefused: the account is missing or refused.
            SourceUnavailable: nobody answers, or the answer is an error.
            ProtocolFault: the answer is no HTTP.
        """
        challenged = False
        for _ in range(_MOST_REDIRECTS + 2):
            response = self._exchange(headers or {})
            status = response.status
            if status == 401 and not challenged and self._is_own and self._authorization.user:
                challenged = True
                asked = parse_challenges(response.msg.get_all("WWW-Authenticate") or [])
                if self._authorization.accept(asked):
                    self._skip_body(response)
                    continue
            if status in _REDIRECTS and response.getheader("Location"):
                self._skip_body(response)
                self._follow(str(response.getheader("Location")))
                continue
            self._refuse_errors(response)
            return Answer(status, {name.lower(): value for name, value in response.getheaders()})
        raise SourceUnavailable(f"{self._url} cannot be opened: too many redirects")

    def read(self) -> bytes:
        """Wait for more bytes of the body; empty at its end.

        Raises:
            SourceUnavailable: none came within the time-out, or the connection broke.
        """
        assert self._body is not None, "get() comes first"
        try:
            return self._body.read()
        except TimeoutError:
            raise SourceUnavailable(f"{self._url} stopped: {NO_ANSWER}") from None
        except (http.client.HTTPException, zlib.error) as error:
            raise SourceUnavailable(f"{self._url} stopped: {type(error).__name__}") from None
        except (OSError, ValueError, AttributeError) as error:
            # An interrupt shuts the socket down under the reader.
            raise SourceUnavailable(f"{self._url} stopped: {_reason(error)}") from None

    def read_all(self, most_bytes: int, within_s: float) -> bytes:
        """Read the whole body.

        Raises:
            SourceUnavailable: it is longer than ``most_bytes``, cut off, or not there after ``within_s`` seconds.
        """
        assert self._body is not None, "get() comes first"
        latest = self._monotonic() + within_s
        parts, size = [], 0
        while part := self.read():
            parts.append(part)
            size += len(part)
            if size > most_bytes:
                raise SourceUnavailable(f"{self._url} answers with over {most_bytes} bytes")
            if self._monotonic() > latest:
                raise SourceUnavailable(f"{self._url} stopped: {NO_ANSWER}")
        if self._body.is_cut:
            raise SourceUnavailable(f"{self._url} cut its answer off")
        return b"".join(parts)

    @property
    def is_over(self) -> bool:
        """Whether the body is known to be read to its end."""
        return self._body is None or self._body.is_over

    def set_timeout(self, timeout_s: float) -> None:
        """Limit each wait for bytes from now on."""
        self._timeout_s = timeout_s
        self._connection.set_timeout(timeout_s)

    def interrupt(self) -> None:
        """End the present wait and every later one; thread-safe."""
        self._connection.interrupt()

    def close(self) -> None:
        """Disconnect; closing twice is fine."""
        body, self._body = self._body, None
        if body is not None:
            body.close()
        self._connection.close()

    def _exchange(self, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send one request; on a kept connection that the server has closed meanwhile, once more on a new one."""
        kept = self._connection.is_kept
        try:
            return self._exchange_once(headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self.close()
            if not kept:
                raise SourceUnavailable(f"{self._url} cannot be opened: {_reason(error)}") from None
        except TimeoutError:
            self.close()
            raise SourceUnavailable(f"{self._url} cannot be opened: {NO_ANSWER}") from None
        except http.client.HTTPException:
            self.close()
            raise ProtocolFault from None
        except (OSError, ValueError) as error:
            self.close()
            raise SourceUnavailable(f"{self._url} cannot be opened: {_reason(error)}") from None
        return self._exchange(headers)

    def _exchange_once(self, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        connection = self._connection.to(self._target)
        path = (self._target.path or "/") + (f"?{self._target.query}" if self._target.query else "")
        proxy = proxy_of(self._target) if self._target.scheme == "http" else None
        asked = path if proxy is None else f"http://{_host_and_port(self._target)}{path}"
        sent = {"User-Agent": "Sightline", "Accept": "*/*", "Connection": "keep-alive", **headers}
        sent |= {} if proxy is None else proxy_headers(proxy)
        authorization = self._authorization.header("GET", path) if self._is_own else None
        if authorization is not None:
            sent["Authorization"] = authorization
        connection.request("GET", asked, headers=sent)
        response = connection.getresponse()
        self._body = Body(response)
        return response

    def _follow(self, location: str) -> None:
        target = urlsplit(urljoin(self._target._replace(netloc=_host_and_port(self._target)).geturl(), location))
        if target.scheme not in ("http", "https") or not target.hostname:
            raise SourceUnavailable(f"{self._url} cannot be opened: it redirects to another protocol")
        if _origin(target) != _origin(self._target):
            self.close()
        self._target = target

    @property
    def _is_own(self) -> bool:
        """Whether the server is the one that the address names: no other gets its password."""
        return _origin(self._target) == self._origin

    def _skip_body(self, response: http.client.HTTPResponse) -> None:
        if not response.will_close and (response.length or 0) <= _MOST_SKIPPED_BYTES:
            self.read_all(_MOST_SKIPPED_BYTES, self._timeout_s)
        else:
            self.close()

    def _refuse_errors(self, response: http.client.HTTPResponse) -> None:
        status = response.status
        if status < 400:
            return
        asked = parse_challenges(response.msg.get_all("WWW-Authenticate") or [])
        self.close()
        text = f"{self._url} cannot be opened: the server answered {status} {response.reason}".rstrip()
        if status in (401, 403):
            raise SourceRefused(f"{text} (authorization failed): {why_refused(self._authorization, asked)}")
        raise SourceUnavailable(text + (" (5XX)" if status >= 500 else ""))


def _host_and_port(target: SplitResult) -> str:
    return target.netloc.rpartition("@")[2]


def _origin(target: SplitResult) -> tuple[str, str | None, int]:
    return target.scheme, target.hostname, target.port or (443 if target.scheme == "https" else 80)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return NO_ANSWER
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
