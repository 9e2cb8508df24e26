"""Serve's proxies, and which of them a camera asks: that of its own node where one runs, a healthy other elsewhere.

With ``proxy_location: EveryNode`` Serve runs a proxy on its head and on every node that has a replica, and on no other:
a node that has cameras alone has none.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from app.settings.service_address import ServiceAddress

SPARE = 2
"""How many proxies of other nodes a camera knows of: few, so that it hardly ever changes which they are."""


@dataclass(frozen=True)
class Proxy:
    """A healthy proxy of Serve's."""

    node: str
    """Ray's id of its node."""
    ip: str
    """Address of its node."""


def addresses(
    configured: ServiceAddress, proxies: Iterable[Proxy], *, node: str, camera_id: str
) -> tuple[ServiceAddress, ...]:
    """Return where a camera finds the service, the best first; each is tried when those before cannot be reached.

    A loopback address without TLS means the proxy of the camera's own node. It comes first where one runs there, else
    last, behind proxies of other nodes. These are chosen by rendezvous hashing (Thaler and Ravishankar, 1998): cameras
    are spread over them, and one that comes or goes changes the choice of few. Any other address stands as it is.

    Args:
        configured: ``INFERENCE_SERVICE_URL``.
        proxies: all that are healthy; they listen on the same port.
        node: Ray's id of the camera's node.
        camera_id: chooses.
    """
    if not configured.loopback or configured.secure:
        return (configured,)
    proxies = tuple(proxies)
    here = any(proxy.node == node for proxy in proxies)
    own = configured.model_copy(update={"host": _literal(configured.host)})
    others = {proxy.ip for proxy in proxies if proxy.node != node and _reached_by(proxy.ip, own)}
    chosen = sorted(others, key=lambda ip: hashlib.blake2b(f"{camera_id}|{ip}".encode()).digest())[:SPARE]
    spare = tuple(own.model_copy(update={"host": _bracketed(ip)}) for ip in chosen)
    if not spare:
        return (configured,)
    return (own, *spare) if here else (*spare, own)


def _literal(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _reached_by(ip: str, own: ServiceAddress) -> bool:
    """Return whether an address may be named beside ours: of one family, and not a loopback that is another's."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return not address.is_loopback and address.version == ipaddress.ip_address(own.host.strip("[]")).version
