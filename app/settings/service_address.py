"""ServiceAddress: where camera actors find the gRPC endpoint."""

from __future__ import annotations

import ipaddress
import re

from pydantic import BaseModel, ConfigDict

_ADDRESS = re.compile(r"^(?:(grpcs?)://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(\d{1,5})/?$")


class ServiceAddress(BaseModel):
    """Where camera actors find the gRPC endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str
    port: int
    secure: bool = False
    """Whether the connection is TLS (``grpcs://``)."""

    @classmethod
    def parse(cls, text: str) -> ServiceAddress:
        """Read ``host:port``, ``grpc://host:port`` or ``grpcs://host:port``.

        Raises:
            ValueError: it is none of these.
        """
        match = _ADDRESS.match(text.strip())
        if match is None or not 0 < int(match.group(3)) < 65536:
            raise ValueError("allowed are host:port, grpc://host:port and grpcs://host:port")
        return cls(host=match.group(2), port=int(match.group(3)), secure=match.group(1) == "grpcs")

    @property
    def target(self) -> str:
        """The address as gRPC wants it."""
        return f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{'grpcs' if self.secure else 'grpc'}://{self.target}"
