"""Films: the pictures of a clip as an MP4 that browsers play, each shown for as long as until the next one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from app.core import drawing
from app.core.event import DetectedObject
from app.errors import EvidenceRefused
from app.evidence.pictures import JudgedPicture

_ENCODERS = ("libx264", "libopenh264", "libvpx-vp9")
"""Encoders whose result browsers play, in the order of preference; PyAV's wheels bring the first."""
_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "23"},
    "libopenh264": {},
    "libvpx-vp9": {"deadline": "realtime", "crf": "33", "b:v": "0"},
}
_TIME_BASE = Fraction(1, 1000)


def encoder() -> str:
    """Return the name of the encoder that makes films here; empty where there is none."""
    return next((name for name in _ENCODERS if name in av.codecs_available), "")


def write_film(path: Path, pictures: Sequence[JudgedPicture], *, boxes: bool = False) -> None:
    """Write pictures as an MP4, each at its capture time since the first one's, in milliseconds.

    It has the first picture's size, less a row or column where that is odd, as H.264 takes even sides only; a picture
    of another size is scaled. A picture that cannot be decoded is left out.

    Args:
        path: of the film; its index comes first, so that a browser plays it while it loads.
        pictures: in the order of capture.
        boxes: whether what was found is drawn into them.

    Raises:
        EvidenceRefused: no picture can be decoded, or there is no encoder that browsers understand.
        OSError: the file cannot be written.
    """
    name = encoder()
    if not name:
        raise EvidenceRefused("no encoder for clips: PyAV's FFmpeg has none of " + ", ".join(_ENCODERS))
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            _write(container, pictures, name, boxes)
    except OSError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise EvidenceRefused(f"the clip cannot be encoded: {error}") from None


def _write(container: Any, pictures: Sequence[JudgedPicture], name: str, boxes: bool) -> None:
    stream: Any = None
    last = -1
    for picture in pictures:
        image = _image_of(picture, boxes)
        at = round((picture.captured_at_ns - pictures[0].captured_at_ns) / 1e6)
        if image is None or at <= last:
            continue
        if stream is None:
            stream = container.add_stream(name, rate=25, options=_OPTIONS[name])
            stream.width, stream.height = image.shape[1] // 2 * 2, image.shape[0] // 2 * 2
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = _TIME_BASE
            stream.codec_context.thread_count = 1
        frame = av.VideoFrame.from_ndarray(_fitted(image, stream.width, stream.height), format="bgr24")
        frame.pts, frame.time_base = at, _TIME_BASE
        container.mux(stream.encode(frame))
        last = at
    if stream is None:
        raise EvidenceRefused("none of the clip's pictures can be decoded")
    container.mux(stream.encode())


def _image_of(picture: JudgedPicture, boxes: bool) -> NDArray[np.uint8] | None:
    image = cv2.imdecode(np.frombuffer(picture.image, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return None
    shown = np.asarray(image, np.uint8)
    return drawing.draw(shown, _scaled(picture, shown.shape[1], shown.shape[0])) if boxes else shown


def _scaled(picture: JudgedPicture, width: int, height: int) -> Iterable[DetectedObject]:
    """Return the objects with boxes in pixels of the picture, which may be smaller than the frame."""
    across, down = width / picture.width, height / picture.height
    for one in picture.objects:
        x, y, wide, high = one.bbox
        yield replace(one, bbox=(x * across, y * down, wide * across, high * down))


def _fitted(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if abs(image.shape[1] - width) > 1 or abs(image.shape[0] - height) > 1:
        return cast("NDArray[np.uint8]", cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(image[:height, :width])
