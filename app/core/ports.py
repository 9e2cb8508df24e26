"""TCP ports that are free on this machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

RANGE = range(20_000, 32_000)
"""Below the ephemeral ports, which the kernel assigns to a socket bound to port 0 (ip(7), ``ip_local_port_range``: from
32768): one of those may be assigned to another process before it is listened on."""


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that no process listens on now."""
    return free_ports(1, host)[0]


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return ``count`` different ports that no process listens on now."""
    free = _free(host)
    return [next(free) for _ in range(count)]


def _free(host: str) -> Iterator[int]:
    for port in random.sample(RANGE, len(RANGE)):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        yield port
