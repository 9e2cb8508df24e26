"""What happens to one image on its way: decoded or refused, detected or failed, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.detection.decoding import DecodedImage, decode
from app.detection.letterbox import Letterbox
from app.detection.outcomes import ImageOutcome
from app.detections import Detections
from app.errors import ImageError, InferenceFailed, SightlineError

Fit = Callable[[int, int], Letterbox]
"""Where in a model's input a picture of a width and a height, in pixels, goes."""


@dataclass(frozen=True, eq=False)
class DecodeResult:
    """A decoded image, or why it is none."""

    picture: DecodedImage | None
    error: ImageError | None
    milliseconds: float


def try_decode(data: bytes, fit: Fit) -> DecodeResult:
    """Decode an image, no larger than its place in the model's input has use for; what is wrong with it is an answer.

    Args:
        data: the encoded image.
        fit: of the model.
    """
    began = time.perf_counter()
    try:
        picture, error = decode(data, lambda width, height: fit(width, height).scaled), None
    except ImageError as raised:
        picture, error = None, raised
    except MemoryError:
        picture, error = None, ImageError("the image is too large for this machine's memory")
    return DecodeResult(picture, error, milliseconds_since(began))


def outcome(decoded: DecodeResult, result: Detections | SightlineError | None, spent: float) -> ImageOutcome:
    """Put together what came of an image; ``spent`` is its inference in milliseconds."""
    width, height = (decoded.picture.width, decoded.picture.height) if decoded.picture else (0, 0)
    failed = result if isinstance(result, SightlineError) else None
    found = result if isinstance(result, Detections) else None
    return ImageOutcome(found, decoded.error or failed, width, height, decoded.milliseconds, spent)


def failure(model: str, error: Exception) -> InferenceFailed:
    """Say in one line that the model failed on an image."""
    return InferenceFailed(f"the model {model!r} failed on the image: {line_of(error)}")


def line_of(error: Exception) -> str:
    """Give a foreign error's text as one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def milliseconds_since(began: float) -> float:
    """Give the time since a reading of ``time.perf_counter``."""
    return (time.perf_counter() - began) * 1000
