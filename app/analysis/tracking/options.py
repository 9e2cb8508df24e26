"""TrackingOptions: what a user may choose about tracking."""

from __future__ import annotations

import math
from dataclasses import dataclass

from app.errors import SettingsError


@dataclass(frozen=True)
class TrackingOptions:
    """The thresholds of confidence, and how long an object may be unseen.

    Raises:
        SettingsError: a value is out of range; the text names the key, the value and what is allowed.
    """

    low: float = 0.1
    """Boxes below are ignored; those from here to ``high`` can continue a track and begin none. In [0, 1]."""
    high: float = 0.5
    """Boxes from here on are matched first, and begin tracks. In [``low``, 1]."""
    lost_after: float = 1.5
    """Seconds of capture time that a track outlives its last match; over 0, at most 60."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1:
            raise SettingsError(f"tracking: low: {self.low!r}: allowed is 0 to 1")
        if not self.low <= self.high <= 1:
            raise SettingsError(f"tracking: high: {self.high!r}: allowed is low ({self.low:g}) to 1")
        if not (math.isfinite(self.lost_after) and 0 < self.lost_after <= 60):
            raise SettingsError(f"tracking: lost_after: {self.lost_after!r}: allowed is more than 0, at most 60 s")
