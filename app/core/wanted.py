"""Wanted: what a camera, or one request, wants detected, in place of the service's own settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """Which detections of an image are reported."""

    confidence: float | None = None
    """Detections with a lower score are left out; from 0 to 1; ``None``: the service's threshold."""
    classes: tuple[str, ...] = ()
    """Labels to keep; empty: those that the service keeps."""


AS_CONFIGURED = Wanted()
"""What the service's own settings say."""
