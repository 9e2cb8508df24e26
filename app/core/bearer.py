"""Bearer tokens, as gRPC metadata and HTTP headers carry them (RFC 6750, section 2.1)."""

from __future__ import annotations

import hmac

_SCHEME = "bearer "


def carries_token(authorization: str, token: str) -> bool:
    """Return whether an ``authorization`` value carries the token; the time it takes says nothing of the token.

    >>> carries_token("Bearer secret", "secret")
    True
    >>> carries_token("secret", "secret")
    False

    Args:
        authorization: the value of the metadata key or header; empty where there is none. The scheme's case is free.
        token: what is asked for; ASCII, as its setting is checked to be.
    """
    if not authorization.lower().startswith(_SCHEME):
        return False
    given = authorization[len(_SCHEME) :].strip()
    return hmac.compare_digest(given.encode(errors="surrogatepass"), token.encode())
