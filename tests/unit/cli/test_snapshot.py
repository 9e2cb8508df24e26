"""``sightline snapshot`` and ``sightline video``: what a camera shows, also while for a moment it shows nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from app.cli.snapshot_file import draw_boxes, write_snapshot
from app.cli.video_file import SavedVideo, write_video
from app.errors import NothingThere, SightlineError
from app.web.client import ApiClient, Snapshot
from app.web.event_fields import DetectionModel, EventModel, SizeModel, StagesModel

GREY = cv2.imencode(".jpg", np.full((48, 64, 3), 128, np.uint8))[1].tobytes()


EVENT = EventModel(
    event_id="event-1",
    timestamp=datetime(2026, 1, 10, 12, tzinfo=UTC),
    camera_id="gate",
    frame_id="7-1",
    frame=SizeModel(width=128, height=96),
    model="street.pt",
    detections=(DetectionModel(label="car", class_id=2, confidence=0.9, bbox=(10, 10, 40, 40)),),
    latency_ms=StagesModel(encode=1, transport=2, queue=3, decode=4, inference=5, commit=6, total=21),
)


class Showing(ApiClient):
    """A camera that shows these frames, one a question; ``None`` is a moment without any."""

    def __init__(self, frames: list[str | None], event: EventModel | None = None) -> None:
        super().__init__("http://127.0.0.1:1")
        self._event = event
        self._frames: Iterator[str | None] = iter(frames)
        self.seconds = 0.0

    def snapshot(self, camera_id: str) -> Snapshot:
        self.seconds += 1.0
        frame_id = next(self._frames)
        if frame_id is None:
            raise NothingThere(f"camera {camera_id!r} has no frame to show yet, or does not answer")
        return Snapshot(frame_id, GREY, self._event)


def test_a_moment_without_a_picture_does_not_end_a_recording(tmp_path: Path):
    client = Showing([None, "7-1", "7-2", None, "7-2", "7-3"])
    reported = write_video(client, "gate", tmp_path / "gate.mp4", 5.5, monotonic=lambda: client.seconds)
    assert reported.as_line() == f"{tmp_path / 'gate.mp4'}: 3 frames of gate in 5.5 s"
    with av.open(str(tmp_path / "gate.mp4")) as container:
        assert len(list(container.decode(video=0))) == 3


def test_a_camera_that_shows_nothing_at_all_is_reported_in_a_line(tmp_path: Path):
    client = Showing([None] * 10)
    with pytest.raises(SightlineError, match=r"showed no frame within 2\.5 s"):
        write_video(client, "gate", tmp_path / "gate.mp4", 2.5, monotonic=lambda: client.seconds)


def test_a_snapshot_is_reported_for_people_and_for_programs(tmp_path: Path):
    path = tmp_path / "gate.png"
    reported = write_snapshot(Showing(["7-1"], EVENT), "gate", path)
    assert (cv2.imread(str(path)) != 128).any()  # a box was drawn
    assert reported.as_line() == f"{path}: frame 7-1 of gate, 1 objects, 21 ms"
    assert json.loads(reported.as_json()) == {
        "path": str(path),
        "camera_id": "gate",
        "frame_id": "7-1",
        "event_id": "event-1",
        "detections": 1,
        "total_ms": 21.0,
    }


def test_a_snapshot_of_a_frame_without_an_event_says_so_and_counts_nothing(tmp_path: Path):
    reported = write_snapshot(Showing(["7-1"]), "gate", tmp_path / "gate.png")
    assert reported.as_line().endswith("frame 7-1 of gate, which became no event")
    document = json.loads(reported.as_json())
    assert (document["event_id"], document["detections"], document["total_ms"]) == (None, None, None)


def test_a_film_is_reported_for_programs_too():
    document = json.loads(SavedVideo("gate.mp4", "gate", 3, 5.5).as_json())
    assert document == {"path": "gate.mp4", "camera_id": "gate", "frames": 3, "seconds": 5.5}


def seen(seconds: float, x: float, track_id: int | None) -> EventModel:
    car = DetectionModel(label="car", class_id=2, confidence=0.9, bbox=(x, 10, 20, 40), track_id=track_id)
    return EVENT.model_copy(update={"timestamp": EVENT.timestamp + timedelta(seconds=seconds), "detections": (car,)})


@pytest.mark.parametrize(("track_id", "drawn"), [(179548027412, True), (None, False)])
def test_a_tracked_object_draws_a_trail_of_where_it_was_lately(track_id: int | None, drawn: bool):
    before = (seen(-1, 40, track_id), seen(-2, 0, track_id), seen(-60, 0, None))
    picture = draw_boxes(Snapshot("7-1", GREY, seen(0, 80, track_id), before))
    # The picture has half the size of the frame: the box's foot was at (10 … 90, 50) of the frame.
    between = picture[23:28, 12:18].astype(int)
    assert bool((abs(between - 128) > 30).any()) is drawn


def test_a_trail_ends_where_an_object_was_three_seconds_ago():
    picture = draw_boxes(Snapshot("7-1", GREY, seen(0, 80, 7), (seen(-3.5, 0, 7),)))
    assert (abs(picture[23:28, 12:18].astype(int) - 128) <= 30).all()
