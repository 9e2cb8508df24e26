"""SavedVideo: some seconds of a running camera, written with the boxes of each frame's event."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from app.cli.snapshot_file import draw_boxes
from app.errors import NothingThere, SightlineError
from app.web.client import ApiClient, Snapshot

POLL_S = 0.1
"""Pause between two requests for a new frame; the service reuses a picture for longer than that."""


@dataclass(frozen=True)
class SavedVideo:
    """A film that was written."""

    path: str
    camera_id: str
    frames: int
    seconds: float
    """How long the camera was recorded."""

    def as_line(self) -> str:
        """Return it as a line for a person."""
        return f"{self.path}: {self.frames} frames of {self.camera_id} in {self.seconds:g} s"

    def as_json(self) -> str:
        """Return it as a JSON document."""
        return json.dumps(asdict(self))


def write_video(
    client: ApiClient,
    camera_id: str,
    path: Path,
    seconds: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    set_done: Callable[[float], None] = lambda _: None,
) -> SavedVideo:
    """Write what a camera shows for some seconds, with boxes; ``set_done`` is called with the seconds recorded.

    Raises:
        SightlineError: no system or camera, no frame in all that time, or the file cannot be written.
    """
    frames = 0
    try:
        with av.open(str(path), "w") as container:
            stream = None
            for at, snapshot in _frames(client, camera_id, seconds, monotonic, set_done):
                image = _cropped_to_even(draw_boxes(snapshot))
                if stream is None:
                    stream = container.add_stream("h264", rate=25)
                    stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
                    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
                frame = av.VideoFrame.from_ndarray(_resized(image, stream.width, stream.height), format="bgr24")
                frame.pts, frame.time_base = round(at * 1000), Fraction(1, 1000)
                container.mux(stream.encode(frame))
                frames += 1
            if stream is not None:
                container.mux(stream.encode())
    except (OSError, ValueError) as error:
        raise SightlineError(f"{str(path)!r} cannot be written: {error}") from None
    if not frames:
        raise SightlineError(f"camera {camera_id} showed no frame within {seconds:g} s")
    return SavedVideo(str(path), camera_id, frames, seconds)


def _frames(
    client: ApiClient,
    camera_id: str,
    seconds: float,
    monotonic: Callable[[], float],
    set_done: Callable[[float], None],
) -> Iterator[tuple[float, Snapshot]]:
    """Yield each new frame once, with the seconds since the start; a camera may be without one for a while."""
    started = monotonic()
    last = ""
    while (now := monotonic() - started) < seconds:
        set_done(now)
        try:
            snapshot = client.snapshot(camera_id)
        except NothingThere:
            time.sleep(POLL_S)
            continue
        if snapshot.frame_id != last:
            last = snapshot.frame_id
            yield now, snapshot
        else:
            time.sleep(POLL_S)
    set_done(seconds)


def _cropped_to_even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop an image to even sides, as H.264 needs them."""
    return np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])


def _resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize an image to the size of the first: a source may change its own."""
    return image if image.shape[:2] == (height, width) else np.asarray(cv2.resize(image, (width, height)), np.uint8)
