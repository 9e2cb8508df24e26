"""``sightline preview``: what the model sees in one frame of a camera, without the system."""

from __future__ import annotations

import time
from pathlib import Path

from app.cli import drawing
from app.cli.doctor import capture_one_frame, load_detector
from app.core.event import DetectedObject
from app.errors import SettingsError
from app.settings.cameras import CameraSettings
from app.settings.settings import Settings


def preview(settings: Settings, camera_id: str | None, index: int, out: Path) -> str:
    """Write a picture of what the model sees in one frame of a camera; give a line about it.

    Raises:
        SettingsError: no such camera.
        SightlineError: the source, the model or the file fails.
    """
    camera = _find(settings.cameras, camera_id)
    frame = capture_one_frame(camera, index)
    detector = load_detector(settings)
    data = drawing.encode(frame.image)
    detector.warm_up()
    started = time.monotonic()
    seen = detector.detect([data])[0]
    spent_ms = (time.monotonic() - started) * 1000
    objects = [
        DetectedObject(detector.labels[class_id], class_id, score, (x1, y1, x2 - x1, y2 - y1))
        for (x1, y1, x2, y2), score, class_id in zip(
            seen.boxes.tolist(), seen.scores.tolist(), seen.class_ids.tolist(), strict=True
        )
    ]
    drawing.write(drawing.draw(frame.image, objects), out)
    labels = ", ".join(f"{thing.label} {thing.confidence:.2f}" for thing in objects) or "nothing"
    return f"{out}: camera {camera.id}, {detector.model_name} saw {labels} in {spent_ms:.0f} ms"


def _find(cameras: tuple[CameraSettings, ...], camera_id: str | None) -> CameraSettings:
    for camera in cameras:
        if camera_id in (None, camera.id):
            return camera
    known = ", ".join(camera.id for camera in cameras) or "none"
    raise SettingsError(f"--camera: {camera_id!r} is not configured; there are {known}")
