"""Video files of numbered pictures, and the frames that an even grid must pick of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.support.numbered import HEIGHT, WIDTH, draw

_BASE = Fraction(1, 90_000)


def stamps_at(fps: Fraction | int, seconds: float = 4.0) -> list[Fraction]:
    """Return the timestamps of a constant rate."""
    return [Fraction(number) / fps for number in range(math.ceil(seconds * fps))]


def write_recording(
    path: Path,
    stamps_s: Sequence[Fraction],
    codec: str = "libx264",
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    rotation: int | None = None,
    options: dict[str, str] | None = None,
    picture: Callable[[int, int, int], NDArray[np.uint8]] = draw,
) -> Path:
    """Write picture number n, of a width and a height, at the n-th timestamp, exactly where the container can."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=_rate(stamps_s), options=options or _quick(codec))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        if codec != "mpeg4":  # MPEG-4 part 2 counts time in 16 bits
            stream.codec_context.time_base = stream.time_base = _BASE
        base = stream.codec_context.time_base or 1 / _rate(stamps_s)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number, stamp_s in enumerate(stamps_s):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="bgr24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = round(stamp_s / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def picked(stamps_s: Sequence[Fraction], fps: int, tolerance_s: float = 0.001) -> list[int]:
    """Return, from the definition, which frames are the first at or after a point of the grid of ``fps``."""
    chosen: list[int] = []
    end_s = float(stamps_s[-1])
    for point in range(math.floor(end_s * fps) + 1):
        at_s = point / fps - min(tolerance_s, 0.1 / fps)
        number = next((n for n, stamp_s in enumerate(stamps_s) if float(stamp_s - stamps_s[0]) >= at_s), None)
        if number is not None and number not in chosen:
            chosen.append(number)
    return chosen


def _rate(stamps_s: Sequence[Fraction]) -> Fraction:
    return 1 / (stamps_s[1] - stamps_s[0])


def _quick(codec: str) -> dict[str, str]:
    return {
        "libx264": {"preset": "ultrafast"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    }.get(codec, {})
