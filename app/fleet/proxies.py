"""Which of Serve's proxies a camera sends to: that of its own node where one runs, healthy others elsewhere.

With ``proxy_location: EveryNode`` Serve runs a proxy on its head and on every node with a replica, and on no other: a
node that runs only cameras has none.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from app.settings.service_address import ServiceAddress

MAX_SPARES = 2
"""How many proxies of other nodes a camera is given: few, so that the choice rarely changes."""


@dataclass(frozen=True)
class Proxy:
    """One healthy proxy."""

    node: str
    """Its node's id in Ray."""
    ip: str
    """Its node's address."""


def addresses(
    configured: ServiceAddress, proxies: Iterable[Proxy], *, node: str, camera_id: str
) -> tuple[ServiceAddress, ...]:
    """Return the addresses at which a camera finds the service, best first; each is tried when those before it fail.

    A loopback address without TLS means the proxy of the camera's own node. It comes first where one runs there, else
    last, after proxies of other nodes. These are chosen by rendezvous hashing (Thaler and Ravishankar, 1998): cameras
    are spread over them, and a proxy that starts or ends changes the choice of few. Any other address is returned
    as it is.

    Args:
        configured: ``INFERENCE_SERVICE_URL``.
        proxies: all that are healthy; they listen on the same port.
        node: id of the camera's node in Ray.
        camera_id: the key of the hashing.
    """
    if not configured.loopback or configured.secure:
        return (configured,)
    proxies = tuple(proxies)
    here = any(proxy.node == node for proxy in proxies)
    own = configured.model_copy(update={"host": _literal(configured.host)})
    others = {proxy.ip for proxy in proxies if proxy.node != node and _reached_by(proxy.ip, own)}
    chosen = sorted(others, key=lambda ip: hashlib.blake2b(f"{camera_id}|{ip}".encode()).digest())[:MAX_SPARES]
    spare = tuple(own.model_copy(update={"host": _bracketed(ip)}) for ip in chosen)
    if not spare:
        return (configured,)
    return (own, *spare) if here else (*spare, own)


def _literal(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _reached_by(ip: str, own: ServiceAddress) -> bool:
    """Return whether a node's address can stand beside the local one: of the same family, and no loopback address."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return not address.is_loopback and address.version == ipaddress.ip_address(own.host.strip("[]")).version
