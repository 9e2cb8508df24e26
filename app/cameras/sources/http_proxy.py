"""Which HTTP proxy of the environment an ``http(s)://`` camera is asked through.

FFmpeg reads ``http_proxy`` and ``no_proxy`` itself, but only in lower case, ``http_proxy`` for ``https://`` too, and
in ``no_proxy`` only names: a network (``192.168.0.0/16``), a port or another case matches nothing there. So it is
decided here, once for FFmpeg, which gets the answer as an option, and for ``HttpClient``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_DIRECT = "direct"
"""Value of FFmpeg's option ``http_proxy`` that is no address of a proxy: it connects directly, and reads no variable.
An empty value would be lost on the way to the segments of an HLS playlist."""
_PORTS = {"http": 80, "https": 443}


def proxy_options(address: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return FFmpeg's options that make it take, or leave, a proxy for an address; none where it is not ``http(s)://``.

    Args:
        address: the camera's full address.
        environment: the variables of the process.
    """
    if not address.lower().startswith(("http://", "https://")):
        return {}
    return {"http_proxy": proxy_for(address, environment) or _DIRECT}


def proxy_for(address: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy for an ``http(s)://`` address, as ``http://host:port``; ``None``: it is asked directly.

    ``http_proxy`` applies to ``http://``, ``https_proxy`` to ``https://``; lower case counts before upper case. A proxy
    of another kind than HTTP (``socks5://``) is not used, as FFmpeg speaks none.
    """
    parts = urlsplit(address)
    proxy = _variable(f"{parts.scheme.lower()}_proxy", environment)
    if not proxy or bypasses(_variable("no_proxy", environment), parts.hostname or "", _port(address)):
        return None
    if "://" not in proxy:
        return f"http://{proxy}"
    return proxy if proxy.lower().startswith("http://") else None


def bypasses(no_proxy: str, host: str, port: int | None = None) -> bool:
    """Return whether ``no_proxy`` names a host: each entry is ``*``, a name, a domain, an IP address or a network.

    A name matches itself and the hosts below it, in any case, with or without ``.`` or ``*.`` before it. An entry
    with a port matches that port only.
    """
    return any(
        _matches(entry, host.lower().rstrip("."), port) for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry
    )


def _variable(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name)
    return (environment.get(name.upper(), "") if value is None else value).strip()


def _port(address: str) -> int | None:
    parts = urlsplit(address)
    try:
        return parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError:
        return None


def _matches(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    ip = _ip(host)
    with_port = re.fullmatch(r"(\[[^\]]+\]|[^:]+):(\d+)", entry)
    if with_port is not None:
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    entry = entry.strip("[]")
    if ip is not None:
        try:
            return ip in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name = entry.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return None
