"""ImageOutcome: the result of one image of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from app.detection.detections import Detections
from app.errors import SightlineError


@dataclass(frozen=True, eq=False)
class ImageOutcome:
    """One image's detections, or its own error."""

    detections: Detections | None
    """``None`` exactly where ``error`` is set."""
    error: SightlineError | None
    """``ImageError`` (it cannot be decoded), ``RequestError`` (what is wanted of it cannot be), ``DeadlineExceeded``
    (it came too late), or ``InferenceFailed`` (the model failed on it)."""
    width: int
    """Pixels of the decoded picture, after EXIF orientation; 0 where it could not be decoded."""
    height: int
    """Pixels of the decoded picture, after EXIF orientation; 0 where it could not be decoded."""
    decode_ms: float
    """Header check and decode of this image."""
    inference_ms: float
    """Preparation, network and postprocessing of the images that ran together with this one."""

    @classmethod
    def refused(cls, error: SightlineError) -> ImageOutcome:
        """Return the outcome of an image that was not even decoded."""
        return cls(detections=None, error=error, width=0, height=0, decode_ms=0.0, inference_ms=0.0)
