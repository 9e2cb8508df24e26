"""Which Ray cluster this machine has on record, whether it still runs, and where a new one would keep its session."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import grpc

from app.errors import SettingsError

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
    try:
        return (_sessions(environment) / "ray_current_cluster").read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def check_sessions(environment: Mapping[str, str]) -> None:
    """Check that Ray can make the folder of its session, without which it ends in a traceback.

    Raises:
        SettingsError: this user may not write where it would be.
    """
    folder = _sessions(environment)
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise SettingsError(
            f"RAY_TMPDIR: Ray keeps its session in {str(folder)!r}, and {str(there)!r} cannot be written by this user; "
            "name another folder"
        )


def _sessions(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("RAY_TMPDIR", environment.get("TMPDIR", "/tmp")), "ray")  # noqa: S108 - Ray's choice


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
