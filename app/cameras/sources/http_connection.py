"""HttpConnection: the connection to one HTTP server, direct or through the proxy of the environment, which is kept."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from urllib.parse import SplitResult, unquote, urlsplit

from app.cameras.sources.authorization import Authorization
from app.cameras.sources.http_proxy import proxy_for
from app.settings.environment import process_environment


class HttpConnection:
    """Connects where it is not connected. Used by one thread; ``interrupt`` may be called from others.

    Certificates are not checked, as FFmpeg does not: cameras sign their own. Errors are those of ``http.client``.
    """

    def __init__(self, timeout_s: float) -> None:
        """Make one that is not connected; ``timeout_s`` limits connecting, and each wait for bytes."""
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._interrupted = False

    @property
    def is_kept(self) -> bool:
        """Whether it is connected, so that the server may have closed it meanwhile."""
        return self._connection is not None and self._connection.sock is not None

    def to(self, target: SplitResult) -> http.client.HTTPConnection:
        """Return the connection to a server; that to another one must have been closed."""
        if self._connection is not None and self._connection.sock is not None:
            return self._connection
        self.close()
        connection = self._made(target)
        connection.connect()
        with self._lock:
            self._connection, self._socket = connection, connection.sock
            if self._interrupted:
                self._shut_down()
        return connection

    def set_timeout(self, timeout_s: float) -> None:
        """Limit each wait for bytes from now on."""
        self._timeout_s = timeout_s
        with self._lock:
            if self._socket is not None and self._socket.fileno() >= 0:
                self._socket.settimeout(timeout_s)

    def interrupt(self) -> None:
        """End the present wait and every later one; thread-safe."""
        with self._lock:
            self._interrupted = True
            self._shut_down()

    def close(self) -> None:
        """Disconnect; closing twice is fine."""
        with self._lock:
            connection, self._connection = self._connection, None
            used, self._socket = self._socket, None
        if connection is not None:
            connection.close()
        if used is not None:
            used.close()

    def _made(self, target: SplitResult) -> http.client.HTTPConnection:
        secure = target.scheme == "https"
        host, port = target.hostname or "", target.port or (443 if secure else 80)
        proxy = proxy_of(target)
        at = (proxy.hostname or "", proxy.port or 80) if proxy is not None else (host, port)
        if not secure:
            return http.client.HTTPConnection(*at, timeout=self._timeout_s)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(*at, timeout=self._timeout_s, context=context)
        if proxy is not None:
            connection.set_tunnel(host, port, headers=proxy_headers(proxy))
        return connection

    def _shut_down(self) -> None:
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it was closed already


def proxy_of(target: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for an address; ``None`` where ``no_proxy`` names its host."""
    proxy = proxy_for(target.geturl(), process_environment())
    return None if proxy is None else urlsplit(proxy)


def proxy_headers(proxy: SplitResult) -> dict[str, str]:
    """Return the header with which a proxy's own account is named: ``http_proxy=http://user:password@host:port``."""
    if proxy.username is None:
        return {}
    account = Authorization(unquote(proxy.username), unquote(proxy.password or ""))
    return {"Proxy-Authorization": account.basic()}
