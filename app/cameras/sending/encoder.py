"""Encoder: makes the JPEG that is sent of a sampled frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from app.cameras.frame import EncodedFrame, Frame, SampledFrame
from app.cameras.masks import MaskPainter
from app.cameras.sources import RawFrame
from app.core.image_header import MAX_ENCODED_BYTES, MAX_PIXELS, probe
from app.errors import ImageError
from app.settings.masks import Polygon

_MAX_RATIO = 1.2
"""A picture that the source delivers as JPEG is passed on if it is at most so many times as long as a new encoding."""
_REVIEW_INTERVAL = 64
"""Pictures, of which one is encoded to compare the two."""
_HUFFMAN_TABLE, _HEAD_BYTES = b"\xff\xc4", 4096
"""Motion JPEG may leave the standard tables out, which not every decoder adds."""


class Encoder:
    """Paints masks, shrinks to ``max_side`` (never enlarges), and encodes as JPEG. Used by one thread at a time.

    A picture that the source delivers as JPEG, and that needs neither masks nor shrinking, is passed on unchanged, at
    no cost and without the loss of another encoding, as long as it is hardly longer than it would be in the configured
    quality; one in ``_REVIEW_INTERVAL`` is encoded to check that.
    """

    def __init__(
        self,
        max_side: int | None,
        jpeg_quality: int,
        masks: Sequence[Polygon] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_side = max_side
        self._masks = MaskPainter(masks)
        self._parameters = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
        self._monotonic = monotonic
        self._passed_on = 0
        """Pictures that may still be passed on before the next one is encoded to compare."""

    def encode(self, sampled: SampledFrame) -> EncodedFrame:
        """Encode a frame.

        Raises:
            ImageError: it has no JPEG form, or one that is over the service's limits.
            SourceUnavailable: its pixels cannot be decoded.
        """
        began = self._monotonic()
        delivered = self._usable(sampled.raw)
        if delivered is not None and self._passed_on > 0:
            self._passed_on -= 1
            jpeg, width, height = delivered
        else:
            jpeg, width, height = self._encoded(sampled)
            fits = delivered is not None and len(delivered[0]) <= _MAX_RATIO * len(jpeg)
            self._passed_on = _REVIEW_INTERVAL - 1 if fits else 0
        return EncodedFrame(
            camera_id=sampled.camera_id,
            frame_id=sampled.frame_id,
            epoch=sampled.epoch,
            sequence=sampled.sequence,
            captured_at=sampled.raw.captured.at,
            captured=sampled.captured,
            jpeg=jpeg,
            source_width=width,
            source_height=height,
            encode_ms=(self._monotonic() - began) * 1000,
        )

    def _encoded(self, sampled: SampledFrame) -> tuple[bytes, int, int]:
        raw = sampled.raw
        frame = Frame(sampled.camera_id, sampled.frame_id, raw.captured.at, raw.image)
        # Before it is shrunk: each pixel of a smaller picture is a mean of several of this one.
        return self._compress(self._shrink(self._masks.paint(frame.image))), frame.width, frame.height

    def _usable(self, raw: RawFrame) -> tuple[bytes, int, int] | None:
        """Return the delivered JPEG with its width and height, where it can be sent as it is."""
        if raw.jpeg is None or self._masks:
            return None
        jpeg = raw.jpeg()
        try:
            header = probe(jpeg)
        except ImageError:
            return None
        rotated = header.orientation != 1
        too_large = self._max_side is not None and max(header.width, header.height) > self._max_side
        if rotated or too_large or jpeg.find(_HUFFMAN_TABLE, 0, _HEAD_BYTES) < 0:
            return None
        return jpeg, header.width, header.height

    def _shrink(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        longest = max(height, width)
        if self._max_side is None or longest <= self._max_side:
            return image
        scale = self._max_side / longest
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        shape = f"{image.shape[1]} × {image.shape[0]} pixels"
        if image.shape[0] * image.shape[1] > MAX_PIXELS:
            raise ImageError(f"a frame of {shape} is over {MAX_PIXELS} pixels; max_side would shrink it")
        try:
            done, data = cv2.imencode(".jpg", image, self._parameters)
        except cv2.error:
            done = False
        if not done:
            raise ImageError(f"a frame of {shape} cannot be encoded as JPEG")
        if data.nbytes > MAX_ENCODED_BYTES:
            raise ImageError(f"a frame of {shape} is over {MAX_ENCODED_BYTES} bytes; max_side would shrink it")
        return data.tobytes()
