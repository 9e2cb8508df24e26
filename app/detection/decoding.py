"""Encoded bytes to pixels, within the limits of ``app.images``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.detection.restraint import limit_opencv
from app.errors import ImageError
from app.images import MAX_PIXELS, probe

limit_opencv(MAX_PIXELS)
import cv2  # noqa: E402  # it reads its limits when it is loaded

# The orientation is applied here, by the header that was checked: OpenCV's versions differ on PNG and WebP.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode one JPEG, PNG or WebP image to (H, W, 3) uint8 BGR, turned as its EXIF orientation says.

    Gray, palette, CMYK and 16-bit images are converted; an alpha channel is dropped. The GIL is released.

    Raises:
        ImageError: the image breaks a limit (before anything is decoded), or cannot be decoded.
    """
    header = probe(data)
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as error:
        raise ImageError(f"the image cannot be decoded: {error.err}") from None
    if stored is None:
        raise ImageError("the image is damaged and cannot be decoded")
    image = _turn(stored.astype(np.uint8, copy=False), header.orientation)
    if image.shape != (header.height, header.width, 3):
        raise ImageError(f"the image declares {header.width} × {header.height} pixels and holds others")
    return image


def _turn(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (Exif 2.32, section 4.6.4, tag 274)."""
    if orientation == 1:
        return image
    turned: NDArray[np.uint8] = image.transpose(1, 0, 2) if orientation >= 5 else image
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return np.ascontiguousarray(turned)
