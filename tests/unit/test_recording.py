"""``sightline video``: what a camera shows, also while for a moment it shows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from app.asking import Still, SystemClient
from app.errors import NothingThere, SightlineError
from app.recording import video

GREY = cv2.imencode(".jpg", np.full((48, 64, 3), 128, np.uint8))[1].tobytes()


class Showing(SystemClient):
    """A camera that shows these frames, one a question; ``None`` is a moment without any."""

    def __init__(self, frames: list[str | None]) -> None:
        super().__init__("http://127.0.0.1:1")
        self._frames: Iterator[str | None] = iter(frames)
        self.seconds = 0.0

    def still(self, camera_id: str) -> Still:
        self.seconds += 1.0
        frame_id = next(self._frames)
        if frame_id is None:
            raise NothingThere(f"camera {camera_id!r} has no frame to show yet, or does not answer")
        return Still(frame_id, GREY, None)


def test_a_moment_without_a_picture_does_not_end_a_recording(tmp_path: Path):
    client = Showing([None, "7-1", "7-2", None, "7-2", "7-3"])
    told = video(client, "gate", tmp_path / "gate.mp4", 5.5, monotonic=lambda: client.seconds)
    assert told.endswith("3 frames of gate in 5.5 s")
    with av.open(str(tmp_path / "gate.mp4")) as container:
        assert len(list(container.decode(video=0))) == 3


def test_a_camera_that_shows_nothing_at_all_is_told_in_a_line(tmp_path: Path):
    client = Showing([None] * 10)
    with pytest.raises(SightlineError, match=r"showed no frame within 2\.5 s"):
        video(client, "gate", tmp_path / "gate.mp4", 2.5, monotonic=lambda: client.seconds)
