"""EvidenceItem: one picture or clip of an incident, and the key under which it is stored."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime


class Kind(enum.StrEnum):
    """The kinds of evidence that a rule may ask for."""

    SNAPSHOT = "snapshot"
    """The picture that was judged, as JPEG."""
    CLIP = "clip"
    """The pictures around it, as MP4."""

    def __str__(self) -> str:
        return self.value


SUFFIXES = {Kind.SNAPSHOT: ".jpg", Kind.CLIP: ".mp4"}
CONTENT_TYPES = {Kind.SNAPSHOT: "image/jpeg", Kind.CLIP: "video/mp4"}


@dataclass(frozen=True)
class EvidenceItem:
    """One picture or clip, named for the incident that it is made for."""

    anomaly_id: str
    camera_id: str
    kind: Kind
    started_at_ns: int
    """Capture time at which the incident began, nanoseconds since 1970 UTC."""

    @property
    def key(self) -> str:
        """The key below the store's prefix: fixed from the start.

        >>> EvidenceItem("5f7c", "gate-1", Kind.SNAPSHOT, 1_767_000_000 * 10**9).key
        'gate-1/2025/12/29/5f7c.jpg'
        """
        day = datetime.fromtimestamp(self.started_at_ns / 1e9, UTC)
        return f"{self.camera_id}/{day:%Y/%m/%d}/{self.anomaly_id}{SUFFIXES[self.kind]}"


def kind_of(key: str) -> Kind:
    """Return the kind of evidence that a key is of."""
    return Kind.SNAPSHOT if key.endswith(SUFFIXES[Kind.SNAPSHOT]) else Kind.CLIP
