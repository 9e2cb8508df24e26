"""CameraFields: a camera's settings as the HTTP API accepts and returns them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.core.wanted import DEFAULT_MODEL
from app.settings.cameras import (
    CAMERA_ID,
    DEFAULT_DECODE,
    DEFAULT_JPEG_QUALITY,
    MAX_CLASSES,
    CameraSettings,
    Confidence,
    Decode,
    Fps,
    JpegQuality,
    Label,
    MaxSide,
    ModelName,
    StallSeconds,
    camera_of,
)
from app.settings.masks import MAX_POINTS, MAX_POLYGONS, Share


def _integer(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value  # JSON knows one kind of number


Amount = Annotated[float, Field(ge=0.0001, le=1_000_000)]
Point = Annotated[list[Share], Field(min_length=2, max_length=2)]
Outline = Annotated[list[Point], Field(min_length=3, max_length=MAX_POINTS)]


class CameraFields(BaseModel):
    """A camera without its id: what PUT accepts is what GET returns, so that an answer can be edited and sent back."""

    # Strict: a value of another type than the schema's is refused, not converted.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4096,
            description="Its source. Shown with *** in the place of each secret; sent back so, it keeps its secrets. "
            "${VARIABLES} are not expanded.",
        ),
    ]
    fps: Annotated[Fps | None, Field(description="Frames sampled per second; null: INFERENCE_FPS.")] = None
    max_side: Annotated[
        Annotated[MaxSide, BeforeValidator(_integer)] | None,
        Field(description="Longest side, in pixels, of what is sent for inference; null: its own."),
    ] = None
    jpeg_quality: Annotated[JpegQuality, BeforeValidator(_integer)] = DEFAULT_JPEG_QUALITY
    stall_s: Annotated[
        StallSeconds | None, Field(description="Silence of its source that counts as a stall, in seconds; null: 5.")
    ] = None
    decode: Annotated[
        Decode, Field(description="Hardware that decodes its video; what is not there leaves it to the CPU.")
    ] = DEFAULT_DECODE
    masks: Annotated[
        list[Outline],
        Field(
            max_length=MAX_POLYGONS,
            description="Polygons that are painted black before anything is encoded; of points [x, y] in shares of the "
            "picture's width and height.",
        ),
    ] = Field(default_factory=list)
    model: Annotated[ModelName, Field(description="The model that detects in its frames.")] = DEFAULT_MODEL
    confidence: Annotated[
        Confidence | None, Field(description="Detections with a lower score are left out; null: DETECTOR_CONFIDENCE.")
    ] = None
    classes: Annotated[
        list[Label], Field(max_length=MAX_CLASSES, description="Labels to keep; empty: those of DETECTOR_CLASSES.")
    ] = Field(default_factory=list)
    tracking: Annotated[
        bool, Field(description="Whether its objects get track ids, where the system tracks (tracking.enabled).")
    ] = True
    resources: Annotated[
        dict[str, Amount], Field(description="Custom Ray resources that place its actor; empty: spread over the nodes.")
    ] = Field(default_factory=dict)

    @classmethod
    def of(cls, settings: CameraSettings) -> CameraFields:
        """Convert a camera's settings, without its secrets."""
        return cls(
            url=str(settings.url),
            fps=settings.fps,
            max_side=settings.max_side,
            jpeg_quality=settings.jpeg_quality,
            stall_s=settings.stall_s,
            decode=settings.decode,
            masks=[[list(point) for point in polygon] for polygon in settings.masks],
            model=settings.model,
            confidence=settings.confidence,
            classes=list(settings.classes),
            tracking=settings.tracking,
            resources=dict(settings.resources),
        )

    def settings(self, camera_id: str) -> CameraSettings:
        """Convert to the settings of a camera.

        Raises:
            SettingsError: a value is impossible.
        """
        return camera_of({**self.model_dump(exclude={"id"}), "id": camera_id})


class NewCamera(CameraFields):
    """A camera to be added."""

    id: Annotated[str, Field(pattern=f"^{CAMERA_ID.pattern}$", description="Unique.")]
