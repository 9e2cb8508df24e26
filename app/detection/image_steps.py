"""The steps of one image: decoded or refused, detected or failed, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.core.image_header import ImageHeader
from app.core.one_line import one_line
from app.detection.decoding import DecodedImage, decode
from app.detection.detections import Detections
from app.detection.letterbox import Letterbox
from app.detection.outcomes import ImageOutcome
from app.errors import ImageError, InferenceFailed, SightlineError

Fit = Callable[[int, int], Letterbox]
"""Returns the letterbox of a picture of a width and a height, in pixels, in the model's input."""


@dataclass(frozen=True)
class Decoding:
    """The result of decoding one image."""

    width: int
    """Pixels of the source, after EXIF orientation; 0 where it could not be decoded."""
    height: int
    """Pixels of the source, after EXIF orientation; 0 where it could not be decoded."""
    error: ImageError | None
    """Why it could not be decoded; ``None``: it was."""
    milliseconds: float

    @classmethod
    def refused(cls, error: ImageError, milliseconds: float) -> Decoding:
        """Return the result of an image that could not be decoded."""
        return cls(0, 0, error, milliseconds)


def try_decode(data: bytes, fit: Fit, header: ImageHeader | None = None) -> tuple[DecodedImage | None, Decoding]:
    """Decode an image, no larger than the model's input has use for; its error is returned, not raised.

    Args:
        data: the encoded image.
        fit: of the model.
        header: of the image, where it was read before.

    Returns:
        The picture, where it could be decoded, and the result.
    """
    began = time.perf_counter()
    try:
        picture = decode(data, lambda width, height: fit(width, height).scaled, header)
    except ImageError as error:
        return None, Decoding.refused(error, milliseconds_since(began))
    except MemoryError:
        refusal = ImageError("the image is too large for this machine's memory")
        return None, Decoding.refused(refusal, milliseconds_since(began))
    return picture, Decoding(picture.width, picture.height, None, milliseconds_since(began))


def outcome(decoding: Decoding, result: Detections | SightlineError | None, spent: float) -> ImageOutcome:
    """Return the outcome of an image; ``spent`` is its inference in milliseconds."""
    failed = result if isinstance(result, SightlineError) else None
    found = result if isinstance(result, Detections) else None
    return ImageOutcome(found, decoding.error or failed, decoding.width, decoding.height, decoding.milliseconds, spent)


def failure(model: str, error: Exception) -> InferenceFailed:
    """Return the error, in one line, of a model that failed on an image."""
    return InferenceFailed(f"the model {model!r} failed on the image: {one_line(error, 300)}")


def milliseconds_since(began: float) -> float:
    """Return the milliseconds since a reading of ``time.perf_counter``."""
    return (time.perf_counter() - began) * 1000
