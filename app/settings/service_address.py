"""ServiceAddress: where cameras find the gRPC endpoint, and which hosts are this machine."""

from __future__ import annotations

import ipaddress
import re

from pydantic import BaseModel, ConfigDict

_ADDRESS = re.compile(r"^(?:(grpcs?)://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(\d{1,5})/?$")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: ``localhost`` or a loopback address (IPv6 with or without brackets).

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "[::1]", "10.0.0.1", "gate.example")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class ServiceAddress(BaseModel):
    """Where cameras find the gRPC endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str
    port: int
    secure: bool = False
    """Whether the connection is TLS (``grpcs://``)."""

    @classmethod
    def parse(cls, text: str) -> ServiceAddress:
        """Parse ``host:port``, ``grpc://host:port`` or ``grpcs://host:port``.

        Raises:
            ValueError: the text is none of these.
        """
        match = _ADDRESS.match(text.strip())
        if match is None or not 0 < int(match.group(3)) < 65536:
            raise ValueError("allowed are host:port, grpc://host:port and grpcs://host:port")
        return cls(host=match.group(2), port=int(match.group(3)), secure=match.group(1) == "grpcs")

    @property
    def target(self) -> str:
        """``host:port``, gRPC's name of the endpoint."""
        return f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"{'grpcs' if self.secure else 'grpc'}://{self.target}"
