"""The actors beside the ingress: where Serve starts them, what they are called, and how their errors read."""

from __future__ import annotations

from app.publisher import Shard

NAMESPACE = "serve"
"""Ray's namespace of the actors that Serve starts (``SERVE_NAMESPACE`` of Serve 2.60)."""
BROKER = "broker"
"""Name of the embedded broker among the ingress's actors."""
PUBLISHER = "publisher"
"""Name of the publisher among the ingress's actors; of several it is what their names begin with."""
SETTLE_S = 2.0
"""How long a publisher that is closed may still send what waits."""


def publisher_name(shard: Shard) -> str:
    """Return a publisher's name among the ingress's actors: ``publisher``, or ``publisher-2-of-4``."""
    return PUBLISHER if shard.alone else f"{PUBLISHER}-{shard.part}"


def last_line(error: BaseException) -> str:
    """Return the line of an error that crossed processes which is the error itself; those before are its stack."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
