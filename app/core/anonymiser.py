"""Anonymiser: pixelates what a picture must not show."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from app.core.event import DetectedObject
from app.errors import ImageError

_MARGIN = 0.1
"""Of a box's sides, added at each: a box may cut off what belongs to the object."""
_BLOCKS = 6
"""Blocks along the longer side of a box at most: a face in it is then less than one block."""
_QUALITY = 90


class Anonymiser:
    """Pixelates the boxes of some labels. Without labels it leaves every picture as it is. Thread-safe."""

    def __init__(self, labels: Collection[str] = ()) -> None:
        self._labels = frozenset(labels)

    def __bool__(self) -> bool:
        """Return whether there is anything to hide."""
        return bool(self._labels)

    def concerns(self, objects: Iterable[DetectedObject]) -> bool:
        """Return whether one of the objects is to be hidden."""
        return any(one.label in self._labels for one in objects)

    def apply(self, jpeg: bytes, objects: Iterable[DetectedObject], width: int, height: int) -> bytes:
        """Return an encoded picture with the objects hidden: the very bytes where there are none.

        Args:
            jpeg: the picture as it was judged; JPEG, PNG or WebP.
            objects: all that was found in it.
            width: of the frame in whose pixels the boxes are; the picture may be smaller.
            height: likewise.

        Raises:
            ImageError: the picture cannot be decoded, so that it must not be shown.
        """
        hidden = [one for one in objects if one.label in self._labels]
        if not hidden:
            return jpeg
        import cv2  # here: most processes that know of anonymising handle no picture

        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise ImageError("the picture cannot be decoded, and so not be anonymised")
        painted = self.paint(np.asarray(decoded, np.uint8), hidden, width, height)
        done, data = cv2.imencode(".jpg", painted, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise ImageError("the anonymised picture cannot be encoded")
        return data.tobytes()

    def paint(
        self, image: NDArray[np.uint8], objects: Iterable[DetectedObject], width: int, height: int
    ) -> NDArray[np.uint8]:
        """Return a copy of a (H, W, 3) uint8 image with the objects hidden, or the image itself where there are none.

        A box, a tenth larger at each side, becomes at most six blocks along its longer side, each of one colour: the
        mean of what it covers.
        """
        hidden = [one for one in objects if one.label in self._labels]
        if not hidden:
            return image
        canvas = image.copy()
        across, down = canvas.shape[1] / width, canvas.shape[0] / height
        for one in hidden:
            x, y, wide, high = one.bbox
            left, right = _span((x - _MARGIN * wide) * across, (x + (1 + _MARGIN) * wide) * across, canvas.shape[1])
            top, bottom = _span((y - _MARGIN * high) * down, (y + (1 + _MARGIN) * high) * down, canvas.shape[0])
            if left < right and top < bottom:
                _pixelate(canvas[top:bottom, left:right])
        return canvas


def _span(first: float, last: float, limit: int) -> tuple[int, int]:
    """Return the whole pixels that a part of a side touches."""
    return max(0, int(np.floor(first))), min(limit, int(np.ceil(last)))


def _pixelate(part: NDArray[np.uint8]) -> None:
    import cv2

    high, wide = part.shape[:2]
    block = max(high, wide) / _BLOCKS
    size = (max(1, round(wide / block)), max(1, round(high / block)))
    means = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    part[:] = cv2.resize(means, (wide, high), interpolation=cv2.INTER_NEAREST)
