"""EvidenceSettings and PrivacySettings: what is kept of incidents, where, and what it must not show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, model_validator

from app.core.wanted import Wanted
from app.settings.connections import Frozen, commas

SCHEMES = ("s3", "gs", "az", "file")
_ALLOWED = "allowed are s3://bucket/prefix, gs://bucket/prefix, az://container/prefix and file:///folder"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")


@dataclass(frozen=True)
class StoreUrl:
    """Where evidence is stored: a bucket (or a container) with a prefix, or a folder."""

    scheme: str
    """One of ``SCHEMES``."""
    bucket: str
    """Empty for a folder."""
    prefix: str
    """In front of each key, without a slash at either end; of a folder its absolute path."""

    @classmethod
    def parse(cls, text: str) -> StoreUrl:
        """Return what an address says.

        >>> StoreUrl.parse("s3://evidence/north").link("gate-1/2026/01/10/5f7c.jpg")
        's3://evidence/north/gate-1/2026/01/10/5f7c.jpg'

        Raises:
            ValueError: it is none; the text says what is allowed.
        """
        try:
            parts = urlsplit(text)
        except ValueError:
            raise ValueError(_ALLOWED) from None
        if parts.scheme not in SCHEMES or parts.query or parts.fragment:
            raise ValueError(_ALLOWED)
        if "@" in parts.netloc:
            raise ValueError(f"an account in the address is not taken (AWS_ACCESS_KEY_ID is); {_ALLOWED}")
        if parts.scheme == "file":
            folder = unquote(parts.path).rstrip("/")
            if parts.netloc or not folder.startswith("/") or ".." in folder.split("/"):
                raise ValueError(_ALLOWED)
            return cls("file", "", folder)
        prefix = parts.path.strip("/")
        if not _BUCKET.fullmatch(parts.netloc) or (prefix and not _PREFIX.fullmatch(prefix)) or ".." in prefix:
            raise ValueError(_ALLOWED)
        return cls(parts.scheme, parts.netloc, prefix)

    def link(self, key: str) -> str:
        """Return the address of an object, as events have it: it never expires and holds no signature."""
        if self.scheme == "file":
            return f"file://{self.prefix}/{key}"
        return "/".join(part for part in (f"{self.scheme}://{self.bucket}", self.prefix, key) if part)

    def __str__(self) -> str:
        return self.link("").rstrip("/")


def _store_url(value: object) -> object:
    return StoreUrl.parse(value) if isinstance(value, str) else value


def _endpoint(value: str | None) -> str | None:
    if value is None:
        return None
    allowed = "allowed is http://host[:port] or https://host[:port]"
    try:
        parts = urlsplit(value)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(allowed) from None
    if not named or parts.username is not None or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ValueError(allowed)
    return value.rstrip("/")


Label = Annotated[str, Field(min_length=1, max_length=256)]
ClipSeconds = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]


class EvidenceSettings(Frozen):
    """The pictures and clips of incidents."""

    url: Annotated[StoreUrl | None, BeforeValidator(_store_url), PlainSerializer(str, when_used="unless-none")] = None
    """Where they are stored; ``None``: they stay in the evidence spool, and are served by HTTP."""
    before: ClipSeconds = 5.0
    """Seconds of capture time that a clip shows before its incident begins."""
    after: ClipSeconds = 5.0
    """Seconds of capture time that a clip shows from there on."""
    max: Annotated[float, Field(ge=1, le=300, allow_inf_nan=False)] = 60.0
    """Longest clip in seconds: incidents of one camera whose clips overlap share one."""
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    """Of the evidence spool of all shards together, in equal parts: beyond, the oldest clips are given up, then the
    oldest snapshots."""
    boxes: bool = False
    """Whether boxes and track ids are drawn into clips; a snapshot is always as it was judged."""
    region: str | None = None
    """Of an S3 store."""
    endpoint_url: Annotated[str | None, AfterValidator(_endpoint)] = None
    """Of an S3 store that is not Amazon's, such as MinIO."""
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None

    @model_validator(mode="after")
    def _fits(self) -> EvidenceSettings:
        if self.before + self.after > self.max:
            raise ValueError("evidence.before and evidence.after together are longer than evidence.max")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("the settings AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY come together")
        return self


class PrivacySettings(Frozen):
    """What no picture that is stored or shown may show."""

    anonymise: Annotated[tuple[Label, ...], BeforeValidator(commas), Field(max_length=100)] = ()
    """Labels whose boxes are pixelated."""

    def unseen(self, wanted: Wanted, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels that are to be pixelated, and that nothing would find.

        Args:
            wanted: what one camera or request wants detected.
            classes: the labels that the service keeps; empty: all.
        """
        kept = wanted.classes or classes
        return tuple(label for label in self.anonymise if kept and label not in kept)
