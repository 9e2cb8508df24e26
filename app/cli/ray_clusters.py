"""Which Ray cluster this machine has on record, and whether it still runs."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import grpc

LOCAL = "local"
"""Value of ``RAY_ADDRESS`` with which Ray starts a cluster of its own, whatever is on record."""
CONNECT_S = 3.0
"""Seconds for a TCP connection to a cluster's head."""
READY_S = 10.0
"""Seconds for the gRPC handshake, which a busy head may take."""


def recorded_cluster(environment: Mapping[str, str]) -> str | None:
    """Return ``host:port`` of the cluster that ``ray start`` has recorded on this machine; ``None`` without a record.

    The file stays where a cluster is killed, or its machine restarts. Its folder is chosen as by
    ``get_default_system_temp_dir`` of ``ray._common.utils`` (Ray 2.60), whose import would take a second.
    """
    folder = environment.get("RAY_TMPDIR", environment.get("TMPDIR", "/tmp"))  # noqa: S108 - Ray's own choice
    try:
        return (Path(folder) / "ray" / "ray_current_cluster").read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def listens(address: str, connect_s: float = CONNECT_S) -> bool:
    """Return whether something takes TCP connections at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=connect_s).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def is_alive(address: str, *, tls: bool = False, ready_s: float = READY_S) -> bool:
    """Return whether a gRPC server, as each Ray head is, answers at ``host:port``.

    The port of a dead head (6379) may belong to another program by now, a Redis for instance: a connection alone says
    nothing. With ``tls`` (``RAY_USE_TLS``) it has to do: a handshake would need Ray's certificates.
    """
    if not listens(address):
        return False
    if tls:
        return True
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ready_s)
        except grpc.FutureTimeoutError:
            return False
    return True
