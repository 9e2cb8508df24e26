"""CameraSettings: one camera as its user configured it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from app.core.validation import InvalidValue
from app.core.wanted import DEFAULT_MODEL, Wanted
from app.errors import SettingsError
from app.settings.connections import commas
from app.settings.masks import Polygons
from app.settings.source_url import SourceKind, SourceUrl
from app.simulation.spec import StreetSpec

CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A camera's id; the whole id must match."""


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


def _custom_resources(resources: Mapping[str, float]) -> Mapping[str, float]:
    for name, amount in resources.items():
        if name.upper() in ("CPU", "GPU", "MEMORY", "OBJECT_STORE_MEMORY"):
            raise ValueError(f"a camera reserves no {name}; allowed are custom resources of the cluster")
        # Ray counts in ten-thousandths; above 1 it takes whole numbers only.
        if not 0.0001 <= amount <= 1_000_000 or (amount > 1 and amount != int(amount)):
            raise ValueError("allowed are 0.0001 to 1, and whole numbers")
    return resources


Fps = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
"""Frames a second."""
MaxSide = Annotated[int, Field(ge=16, le=16384)]
"""Pixels."""
JpegQuality = Annotated[int, Field(ge=1, le=100)]
StallSeconds = Annotated[float, Field(ge=0.5, le=86_400, allow_inf_nan=False)]
"""Seconds."""
Decode = Literal["auto", "cpu", "cuda", "qsv", "drm"]
"""What decodes a video: a kind of hardware, the first of them that is there, or the CPU."""
MAX_CLASSES = 100
"""Labels that one camera may name."""
ModelName = Literal["default"]
"""A model of the service: there is one."""
Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Label = Annotated[str, Field(min_length=1, max_length=256)]
"""Of the model; only the model knows which there are."""
DEFAULT_JPEG_QUALITY = 85
DEFAULT_STALL_S = 5.0
DEFAULT_DECODE: Decode = "cpu"
"""Hardware is for those who ask: each camera's process takes memory of the GPU, which the model may need."""


class CameraSettings(BaseModel):
    """One camera."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=rf"^{CAMERA_ID.pattern}$")]
    url: Annotated[SourceUrl, BeforeValidator(_url), PlainSerializer(str)]
    fps: Fps | None = None
    """Frames sampled per second; ``None``: ``INFERENCE_FPS``."""
    max_side: MaxSide | None = None
    """Longest side, in pixels, of the image sent for inference, which is never enlarged; ``None``: as captured."""
    jpeg_quality: JpegQuality = DEFAULT_JPEG_QUALITY
    stall_s: StallSeconds | None = None
    """Silence of the source that counts as a stall; ``None``: 5 s. A camera that sends less often needs more."""
    decode: Decode = DEFAULT_DECODE
    """Hardware that decodes its video; what is not there, or fails, leaves it to the CPU."""
    masks: Polygons = ()
    """Polygons in shares of the frame's width and height, painted black before anything is encoded."""
    model: ModelName = DEFAULT_MODEL
    """The model that detects in its frames."""
    confidence: Confidence | None = None
    """Detections with a lower score are left out; ``None``: ``DETECTOR_CONFIDENCE``."""
    classes: Annotated[tuple[Label, ...], BeforeValidator(commas), Field(max_length=MAX_CLASSES)] = ()
    """Labels to keep, also such as ``DETECTOR_CLASSES`` leaves out; empty: those that it keeps."""
    tracking: bool = True
    """Whether its objects get ids, where ``tracking.enabled``."""
    resources: Annotated[Mapping[str, float], AfterValidator(_custom_resources)] = Field(default_factory=dict)
    """Ray resources that place this camera's actor: custom ones, as a camera reserves no CPU, GPU or memory."""

    @property
    def wanted(self) -> Wanted:
        """What is to be detected in its frames."""
        return Wanted(self.confidence, self.classes, self.model, self.tracking)

    def with_fps(self, default: float) -> CameraSettings:
        """Return this camera with a frame rate: its own, or ``default`` where it has none."""
        return self if self.fps else self.model_copy(update={"fps": default})


def camera_of(values: Mapping[str, Any], key_of: Callable[[str], str] = str) -> CameraSettings:
    """Build one camera from its fields.

    Args:
        values: the fields by name.
        key_of: returns what the error message calls a field.

    Raises:
        SettingsError: a key or a value is wrong; the text shows no secret.
    """
    try:
        return CameraSettings.model_validate(values)
    except ValidationError as error:
        invalid = InvalidValue.first_of(error)
        key = key_of(invalid.key)
        # A URL may hold a password: its own parser shows it redacted.
        value = None if invalid.location[:1] == ("url",) else _value_at(values, invalid.location)
        line = invalid.line(key, "" if value is None else repr(value))
        # The parser of URLs names the key itself.
        raise SettingsError(invalid.message if invalid.message.startswith(f"{key}: ") else line) from None


def _value_at(values: object, location: Sequence[str]) -> object:
    """Return what stands at a location of nested mappings and lists; a text that was parsed is shown whole."""
    for part in location:
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        elif isinstance(values, (list, tuple)) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return values if isinstance(values, str) else None
    return values
