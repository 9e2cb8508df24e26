"""Asks an RTSP camera which accounts it accepts, where FFmpeg was refused and does not say why."""

from __future__ import annotations

import contextlib
import socket
import ssl
from urllib.parse import urlsplit

from app.cameras.sources.authorization import Challenge, parse_challenges
from app.settings.source_url import SourceUrl

_PORTS = {"rtsp": 554, "rtsps": 322}
_MOST_BYTES = 65_536


def rtsp_challenges(url: SourceUrl, timeout_s: float) -> list[Challenge]:
    """Return the challenges of a camera's answer to a DESCRIBE without an account; none where there is no answer.

    No credentials are sent: it is no log-in that the camera counts.
    """
    target = urlsplit(url.reveal())
    host, port = target.hostname or "", target.port or _PORTS[target.scheme]
    bare = target._replace(netloc=target.netloc.rpartition("@")[2]).geturl()
    request = f"DESCRIBE {bare} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    try:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((host, port), timeout=timeout_s))
            if target.scheme == "rtsps":
                connection = stack.enter_context(_secured(connection))
            connection.sendall(request.encode())
            header = _header(connection)
    except (OSError, ValueError):
        return []
    lines = [line.partition(":") for line in header.split("\r\n")]
    return parse_challenges([value for name, _, value in lines if name.strip().lower() == "www-authenticate"])


def _secured(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)


def _header(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MOST_BYTES and (part := connection.recv(4096)):
        data += part
    return data.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
