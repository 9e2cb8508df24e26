"""Closing: what a publisher has done and leaves behind, as one line for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Closing:
    """The accounts of a publisher that was closed."""

    published: int
    """Events that Kafka acknowledged since this publisher opened its spool."""
    spooled: int
    """Events that wait in the spool; the next start sends them."""
    quarantined: int
    """Events that Kafka refused for good, now and before."""


def closing_line(closings: Sequence[Closing | None]) -> str:
    """Return one line on all shards together.

    >>> closing_line([Closing(120, 0, 0), Closing(80, 3, 0)])
    'events published: 200, waiting in the spool: 3 (the next start sends them)'

    Args:
        closings: of each shard; ``None`` where it did not answer.
    """
    answered = [closing for closing in closings if closing is not None]
    published, spooled, quarantined = (
        sum(getattr(closing, name) for closing in answered) for name in ("published", "spooled", "quarantined")
    )
    line = f"events published: {published}, waiting in the spool: {spooled}"
    if spooled:
        line += " (the next start sends them)"
    if quarantined:
        line += f", in quarantine: {quarantined}"
    if silent := len(closings) - len(answered):
        line += f"; {silent} of {len(closings)} publishers did not answer"
    return line
