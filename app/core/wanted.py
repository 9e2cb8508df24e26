"""Wanted: what a camera, or one request, wants detected, in place of the service's own settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_MODEL: Final = "default"
"""Name of the model that a request gets that names none."""


@dataclass(frozen=True)
class Wanted:
    """Which model detects in an image, and which of its detections are reported."""

    confidence: float | None = None
    """Detections with a lower score are left out; from 0 to 1; ``None``: the service's threshold."""
    classes: tuple[str, ...] = ()
    """Labels to keep; empty: those that the service keeps."""
    model: str = DEFAULT_MODEL
    """Name of the model that detects, as the service's settings have it."""
    tracked: bool = True
    """Whether its objects are tracked, where the service tracks any."""


AS_CONFIGURED = Wanted()
"""What the service's own settings say."""
