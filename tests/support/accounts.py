"""Account: who may look, by Basic or Digest (RFC 7617, RFC 2617); HTTP and RTSP ask alike."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

_REALM, _NONCE = "gate", "5f2c9a"


@dataclass(frozen=True)
class Account:
    """One user, and the way in which the password is asked for."""

    user: str
    password: str
    scheme: str = "Digest"
    algorithm: str = ""
    """Of Digest: named in the challenge; empty: none is named, which is MD5."""

    def challenge(self) -> str:
        """Return the ``WWW-Authenticate`` header."""
        nonce = f', nonce="{_NONCE}"' if self.scheme == "Digest" else ""
        algorithm = f", algorithm={self.algorithm}" if self.algorithm else ""
        return f'{self.scheme} realm="{_REALM}"{nonce}{algorithm}'

    def allows(self, method: str, given: str) -> bool:
        """Return whether an ``Authorization`` header is right."""
        if self.scheme == "Basic":
            return given == "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', given))
        account = self._hash(f"{self.user}:{_REALM}:{self.password}")
        asked = self._hash(f"{method}:{fields.get('uri', '')}")
        return fields.get("response") == self._hash(f"{account}:{_NONCE}:{asked}")

    def _hash(self, text: str) -> str:
        return hashlib.new(self.algorithm.replace("-", "") or "md5", text.encode()).hexdigest()
