"""ScalingNumbers: the scaler's parameters; their values, with the reasons, are in ``serve_config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.core.validation import InvalidValue
from app.errors import SettingsError

Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class ScalingNumbers(BaseModel):
    """Every parameter of a scaling decision; none has a default, so that none is set in two places."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_time_ms: Annotated[float, Field(gt=0, le=600_000)]
    """Milliseconds that a batch may take: capacity is estimated without longer ones."""
    utilisation_up: Share
    """Share of a replica's capacity that may be in use before another one is started."""
    utilisation_down: Share
    """Share of their capacity that the remaining replicas may have in use for one to be stopped; below
    ``utilisation_up``."""
    late_share: Share
    """Share of late frames above which there are too few replicas, whatever was measured."""
    upscale_delay_s: Seconds
    """How long more replicas must be needed before they are started."""
    downscale_delay_s: Seconds
    """How long fewer replicas must have been enough before one is stopped."""
    settle_s: Seconds
    """How long after a change late frames are ignored, and how long they must persist to count."""
    blind_after_s: Seconds
    """How long measurements may be missing before the queue alone decides."""
    ongoing_per_replica: Annotated[float, Field(gt=0, le=1000)]
    """Calls (batches), running or waiting, for each replica, where the queue decides."""

    @model_validator(mode="after")
    def _apart(self) -> ScalingNumbers:
        if self.utilisation_down >= self.utilisation_up:
            raise ValueError(
                f"utilisation_down {self.utilisation_down:g} must be below utilisation_up {self.utilisation_up:g}: "
                "the gap keeps replicas from being started and stopped all the time"
            )
        return self

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> ScalingNumbers:
        """Read the numbers of a configuration.

        Raises:
            SettingsError: one is missing, unknown or impossible; one line.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            invalid = InvalidValue.first_of(error)
            raise SettingsError(invalid.line(".".join(("scaling", *invalid.location)))) from None
