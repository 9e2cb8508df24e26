"""What happens to one image on its way: decoded or refused, detected or failed, and how long each took."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.detection.decoding import decode
from app.detection.outcomes import ImageOutcome
from app.detections import Detections
from app.errors import ImageError, InferenceFailed, SightlineError

Image = NDArray[np.uint8]
"""(H, W, 3) uint8, channels in the order blue, green, red."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded image, or why it is none."""

    image: Image | None
    error: ImageError | None
    milliseconds: float


def try_decode(data: bytes) -> Decoded:
    """Decode an image; what is wrong with it is an answer."""
    began = time.perf_counter()
    try:
        image, error = decode(data), None
    except ImageError as raised:
        image, error = None, raised
    except MemoryError:
        image, error = None, ImageError("the image is too large for this machine's memory")
    return Decoded(image, error, milliseconds_since(began))


def outcome(decoded: Decoded, result: Detections | SightlineError | None, spent: float) -> ImageOutcome:
    """Put together what came of an image; ``spent`` is its inference in milliseconds."""
    height, width = decoded.image.shape[:2] if decoded.image is not None else (0, 0)
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
