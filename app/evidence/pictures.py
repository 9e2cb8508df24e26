"""JudgedPicture, and PictureRing: the last seconds of judged pictures of each camera, in bounded memory."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field

from app.core.event import DetectedObject
from app.errors import ImageError

_JPEG_MAGIC = b"\xff\xd8"
MEMORY_BYTES = 128 << 20
"""Of all pictures of a publisher: 50 cameras at 5 frames a second with 85 KB a picture, over 6 s. Beyond, the oldest
of the camera that has the most are given up."""


@dataclass(frozen=True)
class JudgedPicture:
    """One frame as it was judged, and what was found in it."""

    camera_id: str
    captured_at_ns: int
    """Nanoseconds since 1970 UTC."""
    width: int
    """Pixels of the frame in which the boxes are; the picture may be smaller."""
    height: int
    objects: tuple[DetectedObject, ...]
    image: bytes = field(repr=False)
    """As it was judged: JPEG, PNG or WebP."""


class PictureRing:
    """Keeps the newest pictures of each camera; used by one thread."""

    def __init__(self, seconds: float, memory_bytes: int = MEMORY_BYTES) -> None:
        """Keep nothing yet.

        Args:
            seconds: of capture time that are kept, back from a camera's newest picture.
            memory_bytes: of all pictures together.
        """
        self._span_ns = int(seconds * 1e9)
        self._memory_bytes = memory_bytes
        self._rings: dict[str, deque[JudgedPicture]] = {}
        self._sizes: dict[str, int] = {}
        self.bytes = 0
        """Of all pictures that are kept."""
        self.given_up = 0
        """Pictures that were given up for memory."""

    def add(self, picture: JudgedPicture) -> None:
        """Keep a picture, and drop those that are too old by it: also those of a time before a clock was set back."""
        ring = self._rings.setdefault(picture.camera_id, deque())
        ring.append(picture)
        self._account(picture, 1)
        newest = picture.captured_at_ns
        while not newest - self._span_ns <= ring[0].captured_at_ns <= newest:
            self._account(ring.popleft(), -1)
        while self.bytes > self._memory_bytes:
            self._give_up()

    def since(self, camera_id: str, from_ns: int) -> list[JudgedPicture]:
        """Return a camera's pictures from a capture time on, the oldest first."""
        return [one for one in self._rings.get(camera_id, ()) if one.captured_at_ns >= from_ns]

    def forget(self, camera_id: str) -> None:
        """Drop the pictures of a camera."""
        for picture in self._rings.pop(camera_id, ()):
            self._account(picture, -1)
        self._sizes.pop(camera_id, None)

    @property
    def cameras(self) -> list[str]:
        """The cameras of which there are pictures."""
        return list(self._rings)

    def _give_up(self) -> None:
        largest = max(self._sizes, key=self._sizes.__getitem__)
        self._account(self._rings[largest].popleft(), -1)
        self.given_up += 1
        if not self._rings[largest]:
            self.forget(largest)

    def _account(self, picture: JudgedPicture, sign: int) -> None:
        size = sign * len(picture.image)
        self.bytes += size
        self._sizes[picture.camera_id] = self._sizes.get(picture.camera_id, 0) + size


def as_jpeg(image: bytes) -> bytes:
    """Return a picture as JPEG: as it is where it is one.

    Raises:
        ImageError: it cannot be decoded.
    """
    if image.startswith(_JPEG_MAGIC):
        return image
    import cv2  # here: without a rule that asks for evidence the publisher handles no picture
    import numpy as np

    with contextlib.suppress(cv2.error):
        decoded = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        if decoded is not None:
            return bytes(cv2.imencode(".jpg", decoded, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
    raise ImageError("the picture cannot be decoded")
