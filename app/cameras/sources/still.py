"""Decodes still pictures: JPEG, PNG, WebP, BMP, TIFF, with 8 bits a channel or more."""

from __future__ import annotations

from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from app.errors import SourceUnavailable
from app.settings.source_url import SourceUrl

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_SIGNATURES = (JPEG_START, b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*")


def is_picture(data: bytes) -> bool:
    """Return whether bytes begin as a JPEG, PNG, WebP, TIFF or BMP does."""
    is_bmp = data[:2] == b"BM" and data[6:10] == bytes(4)  # two reserved words follow its length
    return data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP") or is_bmp


def is_complete(data: bytes | memoryview) -> bool:
    """Return whether a JPEG, PNG, WebP or BMP ends as it must, at hardly any cost; TIFF is taken to be complete."""
    head, tail = bytes(data[:8]), bytes(data[-16:])
    if head.startswith(JPEG_START):
        return JPEG_END in tail
    if head.startswith(b"\x89PNG"):
        return b"IEND" in tail
    if head.startswith(b"RIFF"):
        return len(data) >= int.from_bytes(head[4:8], "little") + 8
    return len(data) >= int.from_bytes(head[2:6], "little") if head.startswith(b"BM") else True


def decode_still(data: bytes | NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Decode a picture upright (EXIF), as (H, W, 3) uint8 BGR; ``None`` where that cannot be.

    Deeper channels are stretched: see :func:`stretched`.
    """
    encoded = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    if not encoded.size:
        return None
    image = _read(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        # OpenCV makes no colours of a TIFF with one floating-point channel, as thermal cameras write it.
        image = _read(encoded, cv2.IMREAD_UNCHANGED)
    if image is None:
        return None
    shown = stretched(image)
    return cast("NDArray[np.uint8]", cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR)) if shown.ndim == 2 else shown


def _read(encoded: NDArray[np.uint8], flags: int) -> NDArray[Any] | None:
    try:
        return cast("NDArray[Any] | None", cv2.imdecode(encoded, flags))
    except cv2.error:
        return None


def decode_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """Decode a JPEG by OpenCV, else by FFmpeg, which knows forms that libjpeg does not; ``None`` where none can."""
    image = decode_still(data)
    if image is not None:
        return image
    decoder = VideoCodecContext.create("mjpeg", "r")
    try:
        frames = decoder.decode(av.Packet(data))
    except (av.FFmpegError, ValueError):
        return None
    first = next((frame for frame in frames if isinstance(frame, VideoFrame)), None)
    return None if first is None else cast("NDArray[np.uint8]", first.to_ndarray(format="bgr24"))


def decode_picture(url: SourceUrl, data: bytes) -> NDArray[np.uint8]:
    """Decode a picture of a source to (H, W, 3) uint8 BGR.

    Raises:
        SourceUnavailable: it cannot be decoded.
    """
    image = decode_jpeg(data)
    if image is None:
        raise SourceUnavailable(f"{url} gave a picture that cannot be decoded")
    return image


def stretched(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image with 8 bits a channel: of deeper ones the range from the darkest to the brightest value.

    A thermal camera of 16 bits uses a small part of its range: of its upper 8 bits hardly anything would be left.
    """
    if image.dtype == np.uint8:
        return cast("NDArray[np.uint8]", image)
    values = np.nan_to_num(image.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.full(image.shape, 127, np.uint8)
    return np.asarray(np.rint((values - low) * (255.0 / (high - low))), dtype=np.uint8)
