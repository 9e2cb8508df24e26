"""Authorization: answers the Basic and Digest challenges of HTTP and RTSP servers (RFC 7617, RFC 7616)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

_SCHEME = re.compile(r"(?:^|,)\s*(Basic|Digest|Bearer|Negotiate|NTLM)\b", re.IGNORECASE)
_PARAMETER = re.compile(r'([A-Za-z][\w*-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HASHES: Mapping[str, str] = {"md5": "md5", "sha-256": "sha256", "sha-512-256": "sha512_256"}
"""Digest algorithm, in lower case and without ``-sess`` → name in ``hashlib``."""


@dataclass(frozen=True)
class Challenge:
    """One way in which a server asks for an account."""

    scheme: str
    """In lower case: ``basic``, ``digest``."""
    parameters: Mapping[str, str]
    """By name in lower case."""

    @property
    def algorithm(self) -> str:
        """The Digest algorithm in upper case; MD5 where the server names none."""
        return self.parameters.get("algorithm", "MD5").upper()

    def __str__(self) -> str:
        return f"Digest with {self.algorithm}" if self.scheme == "digest" else self.scheme.capitalize()


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Parse the values of ``WWW-Authenticate`` headers, each of which may hold several challenges."""
    challenges = []
    for header in headers:
        starts = list(_SCHEME.finditer(header))
        ends = [start.start() for start in starts[1:]] + [len(header)]
        for start, end in zip(starts, ends, strict=True):
            pairs = _PARAMETER.findall(header[start.end() : end])
            challenges.append(
                Challenge(start.group(1).lower(), {name.lower(): quoted or bare for name, quoted, bare in pairs})
            )
    return challenges


@dataclass
class Authorization:
    """The account of one address, and the challenge that it answers from the first refusal on."""

    user: str
    password: str = field(repr=False)
    _challenge: Challenge | None = field(default=None, repr=False)
    _count: int = 0

    def accept(self, challenges: Sequence[Challenge]) -> bool:
        """Choose the challenge to answer: Digest before Basic, the stronger hash first; return whether there is one."""
        known = [each for each in challenges if _strength(each) > 0]
        self._challenge = max(known, key=_strength, default=None)
        self._count = 0
        return self._challenge is not None

    @property
    def chosen(self) -> Challenge | None:
        """The challenge that is answered."""
        return self._challenge

    def header(self, method: str, uri: str) -> str | None:
        """Return the ``Authorization`` header of a request; ``None`` before a challenge was chosen."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return self.basic()
        return self._digest(self._challenge, method, uri)

    def basic(self) -> str:
        """Return the header of RFC 7617, which holds the password."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _digest(self, challenge: Challenge, method: str, uri: str) -> str:
        """Return the header of RFC 7616, section 3.4; without ``qop`` that of RFC 2069."""
        asked = challenge.parameters
        algorithm = challenge.algorithm.lower()
        name, has_session = _HASHES[algorithm.removesuffix("-sess")], algorithm.endswith("-sess")
        realm, nonce = asked.get("realm", ""), asked.get("nonce", "")
        self._count += 1
        count, own = f"{self._count:08x}", secrets.token_hex(8)
        account = _hash(name, f"{self.user}:{realm}:{self.password}")
        if has_session:
            account = _hash(name, f"{account}:{nonce}:{own}")
        request = _hash(name, f"{method}:{uri}")
        fields = {"username": self.user, "realm": realm, "nonce": nonce, "uri": uri}
        if "auth" in re.split(r"[\s,]+", asked.get("qop", "")):
            response = _hash(name, f"{account}:{nonce}:{count}:{own}:auth:{request}")
            tail = f', qop=auth, nc={count}, cnonce="{own}"'
        else:
            response = _hash(name, f"{account}:{nonce}:{request}")
            tail = f', cnonce="{own}"' if has_session else ""
        fields["response"] = response
        if "opaque" in asked:
            fields["opaque"] = asked["opaque"]
        text = ", ".join(f'{key}="{value}"' for key, value in fields.items())
        named = f", algorithm={asked['algorithm']}" if "algorithm" in asked else ""
        return f"Digest {text}{named}{tail}"


def why_refused(
    authorization: Authorization, challenges: Sequence[Challenge], algorithms: Set[str] | None = None
) -> str:
    """Return why a server refused an account, from what it asks for; holds no secret.

    Args:
        authorization: the account that was tried.
        challenges: what the server offers.
        algorithms: the Digest algorithms that could be answered, without ``-sess``; ``None``: those known here.
    """
    if not authorization.user:
        return "it asks for an account, and the address names none"
    if challenges and not any(_is_answered(each, algorithms) for each in challenges):
        offered = ", ".join(str(each) for each in challenges)
        return f"it asks for {offered}, which is not supported; the password was not sent"
    return f"it refuses the account {authorization.user!r}: check user name and password"


def _is_answered(challenge: Challenge, algorithms: Set[str] | None) -> bool:
    if challenge.scheme == "digest" and algorithms is not None:
        return challenge.algorithm.removesuffix("-SESS") in algorithms
    return _strength(challenge) > 0


def _strength(challenge: Challenge) -> int:
    if challenge.scheme == "basic":
        return 1
    base = challenge.algorithm.lower().removesuffix("-sess")
    if challenge.scheme != "digest" or _HASHES.get(base) not in hashlib.algorithms_available:
        return 0
    return 2 if base == "md5" else 3


def _hash(name: str, text: str) -> str:
    return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()
