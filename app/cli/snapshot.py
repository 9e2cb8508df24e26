"""``sightline snapshot`` and ``sightline video``: pictures of a running camera with the boxes of the same frame."""

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

from app.cli import drawing
from app.core.event import DetectedObject
from app.errors import NothingThere, SightlineError
from app.web.client import ApiClient, Still

POLL_S = 0.1
"""Pause between two questions for a new frame; the service shares a picture for longer than that."""


@dataclass(frozen=True)
class Snapshot:
    """One frame that was written."""

    path: str
    camera_id: str
    frame_id: str
    event_id: str | None
    """None, as are the next two, where the frame became no event."""
    detections: int | None
    """How many objects were seen in it."""
    total_ms: float | None
    """From capture until the event was durable."""

    @classmethod
    def of(cls, still: Still, camera_id: str, path: Path) -> Snapshot:
        """Tell of a frame and its event."""
        if still.event is None:
            return cls(str(path), camera_id, still.frame_id, None, None, None)
        event = still.event
        return cls(str(path), camera_id, still.frame_id, event.event_id, len(event.detections), event.latency_ms.total)

    def as_line(self) -> str:
        """Return it as a line for a person."""
        about = f"{self.path}: frame {self.frame_id} of {self.camera_id}"
        if self.event_id is None:
            return f"{about}, which became no event"
        return f"{about}, {self.detections} objects, {self.total_ms:.0f} ms"

    def as_json(self) -> str:
        """Return it as a JSON document."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Film:
    """What was written of some seconds."""

    path: str
    camera_id: str
    frames: int
    seconds: float
    """How long the camera was watched."""

    def as_line(self) -> str:
        """Return it as a line for a person."""
        return f"{self.path}: {self.frames} frames of {self.camera_id} in {self.seconds:g} s"

    def as_json(self) -> str:
        """Return it as a JSON document."""
        return json.dumps(asdict(self))


def snapshot(client: ApiClient, camera_id: str, path: Path) -> Snapshot:
    """Write the newest frame of a camera with its boxes.

    Raises:
        SightlineError: no system, camera or frame, or the file cannot be written.
    """
    still = client.still(camera_id)
    drawing.write(draw(still), path)
    return Snapshot.of(still, camera_id, path)


def draw(still: Still) -> NDArray[np.uint8]:
    """Return the picture with its boxes, in the size in which it was sent."""
    image = cv2.imdecode(np.frombuffer(still.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise SightlineError(f"frame {still.frame_id} is no picture")
    picture = np.asarray(image, np.uint8)
    return drawing.draw(picture, _objects(still, picture.shape[1], picture.shape[0]))


def video(
    client: ApiClient,
    camera_id: str,
    path: Path,
    seconds: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    tell: Callable[[float], None] = lambda _: None,
) -> Film:
    """Write what a camera shows for some seconds, with boxes; ``tell`` is told of the seconds done.

    Raises:
        SightlineError: no system or camera, no frame in all that time, or the file cannot be written.
    """
    frames = 0
    try:
        with av.open(str(path), "w") as container:
            stream = None
            for at, still in _frames(client, camera_id, seconds, monotonic, tell):
                image = _even(draw(still))
                if stream is None:
                    stream = container.add_stream("h264", rate=25)
                    stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
                    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
                frame = av.VideoFrame.from_ndarray(_like(image, stream.width, stream.height), format="bgr24")
                frame.pts, frame.time_base = round(at * 1000), Fraction(1, 1000)
                container.mux(stream.encode(frame))
                frames += 1
            if stream is not None:
                container.mux(stream.encode())
    except (OSError, ValueError) as error:
        raise SightlineError(f"{str(path)!r} cannot be written: {error}") from None
    if not frames:
        raise SightlineError(f"camera {camera_id} showed no frame within {seconds:g} s")
    return Film(str(path), camera_id, frames, seconds)


def _frames(
    client: ApiClient,
    camera_id: str,
    seconds: float,
    monotonic: Callable[[], float],
    tell: Callable[[float], None],
) -> Iterator[tuple[float, Still]]:
    """Return each new frame once, with the seconds since the beginning; a camera may be without one for a while."""
    began = monotonic()
    last = ""
    while (now := monotonic() - began) < seconds:
        tell(now)
        try:
            still = client.still(camera_id)
        except NothingThere:
            time.sleep(POLL_S)
            continue
        if still.frame_id != last:
            last = still.frame_id
            yield now, still
        else:
            time.sleep(POLL_S)
    tell(seconds)


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a picture to even sides, as H.264 has them."""
    return np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])


def _like(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Bring a picture to the size of the first: a source may change its own."""
    return image if image.shape[:2] == (height, width) else np.asarray(cv2.resize(image, (width, height)), np.uint8)


def _objects(still: Still, width: int, height: int) -> list[DetectedObject]:
    """Return the boxes in pixels of the picture that was sent, which may be smaller than the captured frame."""
    if still.event is None:
        return []
    across, down = width / still.event.frame.width, height / still.event.frame.height
    return [
        DetectedObject(
            seen.label,
            seen.class_id,
            seen.confidence,
            (seen.bbox[0] * across, seen.bbox[1] * down, seen.bbox[2] * across, seen.bbox[3] * down),
        )
        for seen in still.event.detections
    ]
