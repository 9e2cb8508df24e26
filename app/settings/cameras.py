"""CameraSettings: one camera as its user asked for it, and the two ways to write a list of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from app.errors import SettingsError
from app.settings.source_url import SourceKind, SourceUrl
from app.simulation.spec import StreetSpec

CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a camera may be called; the whole id must match."""


def _url(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        url = SourceUrl.parse(value)
        if url.kind is SourceKind.SYNTHETIC:
            StreetSpec.parse(url.reveal())
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return url


def _custom(resources: Mapping[str, float]) -> Mapping[str, float]:
    for name, amount in resources.items():
        if name.upper() in ("CPU", "GPU", "MEMORY", "OBJECT_STORE_MEMORY"):
            raise ValueError(f"{name} is not for cameras; allowed are custom resources of the cluster")
        # Ray counts in ten-thousandths; above 1 it takes whole numbers only.
        if not 0.0001 <= amount <= 1_000_000 or (amount > 1 and amount != int(amount)):
            raise ValueError("allowed are 0.0001 to 1, and whole numbers")
    return resources


Fps = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
"""Frames a second."""
MaxSide = Annotated[int, Field(ge=16, le=16384)]
"""Pixels."""
JpegQuality = Annotated[int, Field(ge=1, le=100)]
USUAL_JPEG_QUALITY = 85
StallSeconds = Annotated[float, Field(ge=0.5, le=86_400, allow_inf_nan=False)]
"""Seconds."""
USUAL_STALL_S = 5.0


class CameraSettings(BaseModel):
    """One camera."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=rf"^{CAMERA_ID.pattern}$")]
    url: Annotated[SourceUrl, BeforeValidator(_url), PlainSerializer(str)]
    fps: Fps | None = None
    """Frames sampled per second; ``None``: ``INFERENCE_FPS``."""
    max_side: MaxSide | None = None
    """Longest side, in pixels, of what is sent for inference; never enlarged."""
    jpeg_quality: JpegQuality = USUAL_JPEG_QUALITY
    stall_s: StallSeconds | None = None
    """Silence of the source that counts as a stall; ``None``: 5 s. A camera that sends less often needs more."""
    resources: Annotated[Mapping[str, float], AfterValidator(_custom)] = Field(default_factory=dict)
    """Ray resources that place this camera's actor: custom ones, as a camera reserves no CPU, GPU or memory."""

    def with_fps(self, usual: float) -> CameraSettings:
        """Return it with frames per second of its own, the usual ones where it has none."""
        return self if self.fps else self.model_copy(update={"fps": usual})


def camera_of(values: Mapping[str, Any], key_of: Callable[[str], str] = str) -> CameraSettings:
    """Make one camera of its fields.

    Args:
        values: the fields by name.
        key_of: what the error calls a field.

    Raises:
        SettingsError: a key or a value is wrong; it shows no secret.
    """
    try:
        return CameraSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = key_of(".".join(str(part) for part in first["loc"]))
        message = first["msg"].removeprefix("Value error, ").removeprefix("url: " if key == "url" else "")
        # A URL may hold a password: what is wrong with it is said by its own parser, redacted.
        value = values.get(str(first["loc"][0])) if first["loc"] and first["loc"][0] != "url" else None
        raise SettingsError(f"{key}: {f'{value!r}: ' if value is not None else ''}{message}") from None
