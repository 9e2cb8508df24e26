"""Encoded bytes to pixels, within the limits of ``app.core.image_header``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.image_header import MAX_PIXELS, ImageHeader, probe
from app.detection.ultralytics_guard import limit_opencv
from app.errors import ImageError

limit_opencv(MAX_PIXELS)
import cv2  # noqa: E402  # it reads its limits when it is loaded

# The orientation is applied here, by the header that was checked: OpenCV's versions differ on PNG and WebP.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
}
_MIN_OVERSAMPLING = 2
"""A picture that is decoded at a reduced size has at least this many times the pixels, along each side, of the size it
is scaled to afterwards."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image, upright."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) BGR; of a large JPEG a half, a quarter or an eighth of its width and height, rounded up."""
    width: int
    """Pixels, of the source."""
    height: int
    """Pixels, of the source."""

    @classmethod
    def whole(cls, pixels: NDArray[np.uint8]) -> DecodedImage:
        """Return an image whose source is the pixels themselves."""
        return cls(pixels, pixels.shape[1], pixels.shape[0])


def decode(
    data: bytes, needed: Callable[[int, int], tuple[int, int]] | None = None, header: ImageHeader | None = None
) -> DecodedImage:
    """Decode one JPEG, PNG or WebP image to uint8 BGR, upright by its EXIF orientation.

    Gray, palette, CMYK and 16-bit images are converted; an alpha channel is dropped. The GIL is released.

    Args:
        data: the encoded image.
        needed: returns, for a source's width and height, the width and height that it will be scaled to; a JPEG much
            larger than that is decoded at a reduced size, which costs less and, unlike bilinear scaling, skips no
            pixel.
        header: what ``probe`` read of the image; ``None``: it is read here.

    Raises:
        ImageError: the image breaks a limit (before anything is decoded), or cannot be decoded.
    """
    header = header or probe(data)
    factor = reduction(header, needed(header.width, header.height)) if needed else 1
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED.get(factor, _FLAGS))
    except cv2.error as error:
        raise ImageError(f"the image cannot be decoded: {error.err}") from None
    if stored is None:
        raise ImageError("the image is damaged and cannot be decoded")
    pixels = _rotate(stored.astype(np.uint8, copy=False), header.orientation)
    if pixels.shape != (-(-header.height // factor), -(-header.width // factor), 3):
        raise ImageError(f"the image declares {header.width} × {header.height} pixels and holds others")
    return DecodedImage(pixels, header.width, header.height)


def reduction(header: ImageHeader, needed: tuple[int, int]) -> int:
    """Return the factor by which a picture is reduced as it is decoded: 1, 2, 4 or 8.

    A JPEG's inverse transform gives a half, a quarter or an eighth at less cost than the whole; PNG and WebP
    have nothing alike.

    Args:
        header: of the source.
        needed: width and height, in pixels, that the picture is scaled to afterwards.
    """
    if header.format != "jpeg":
        return 1
    oversampling = min(header.width / needed[0], header.height / needed[1]) / _MIN_OVERSAMPLING
    return next((factor for factor in (8, 4, 2) if oversampling >= factor), 1)


def _rotate(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return the image upright, by its EXIF orientation (Exif 2.32, section 4.6.4, tag 274)."""
    if orientation == 1:
        return image
    rotated: NDArray[np.uint8] = image.transpose(1, 0, 2) if orientation >= 5 else image
    if orientation in (2, 3, 6, 7):
        rotated = rotated[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rotated = rotated[::-1]
    return np.ascontiguousarray(rotated)
