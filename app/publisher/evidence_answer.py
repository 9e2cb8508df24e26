"""EvidenceAnswer: what is handed out of an incident's evidence."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EvidenceAnswer:
    """The evidence of an incident: an address to read it at, its bytes, or why there is neither."""

    content_type: str
    url: str | None = None
    """Signed, and good for minutes."""
    data: bytes | None = field(default=None, repr=False)
    reason: str = ""
    """Why there is neither address nor bytes; may be empty."""
