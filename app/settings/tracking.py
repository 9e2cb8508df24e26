"""TrackingSettings: which boxes follow an object, and how long it may be unseen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from app.settings.connections import Frozen


class TrackingSettings(Frozen):
    """How objects are followed from frame to frame (``proto/README.md``, "Track ids")."""

    enabled: bool = True
    """Whether objects get ids; a camera may do without (``tracking: false``)."""
    low: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Boxes with a lower score are ignored; those from here to ``high`` can continue a track and begin none."""
    high: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Boxes from here on are matched first, and begin tracks; at least ``low``."""
    lost_after: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = 1.5
    """Seconds of capture time that a track outlives its last match."""

    @model_validator(mode="after")
    def _high_is_no_lower(self) -> TrackingSettings:
        if self.high < self.low:
            raise ValueError(f"high ({self.high:g}) is below low ({self.low:g}); allowed is low to 1")
        return self
