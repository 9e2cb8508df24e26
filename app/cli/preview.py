"""``sightline preview``: what the model detects in one frame of a camera, without the system."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import CONFIG, Config, out, resolve_settings
from app.core.anonymiser import Anonymiser
from app.core.event import DetectedObject
from app.errors import SettingsError
from app.settings.cameras import CameraSettings
from app.settings.settings import Settings


def preview(
    out_file: Annotated[Path, typer.Option("--out", help="Where the picture goes (.jpg or .png).")],
    camera: Annotated[str | None, typer.Option(help="Which camera; the first where none is named.")] = None,
    frame: Annotated[int, typer.Option(help="Which of its frames.", min=0)] = 0,
    config: Config = CONFIG,
) -> None:
    """Draw what the model detects in one frame of a camera, without starting the system."""
    settings = resolve_settings(config)
    out.print(write_preview(settings, camera, frame, out_file), markup=False)


def write_preview(settings: Settings, camera_id: str | None, index: int, path: Path) -> str:
    """Write a picture of what the model detects in one frame of a camera, and return a line about it.

    Raises:
        SettingsError: no such camera.
        SightlineError: the source, the model or the file fails.
    """
    camera = _find(settings.cameras, camera_id)
    from app.cli.checks import capture_one_frame, load_detector  # here: it loads torch
    from app.core import drawing

    frame = capture_one_frame(camera, index)
    detector = load_detector(settings)
    data = drawing.encode(frame.image)
    detector.warm_up()
    started = time.monotonic()
    detections = detector.detect([data], [camera.wanted])[0]
    spent_ms = (time.monotonic() - started) * 1000
    objects = [
        DetectedObject(detector.labels[class_id], class_id, score, (x1, y1, x2 - x1, y2 - y1))
        for (x1, y1, x2, y2), score, class_id in zip(
            detections.boxes.tolist(), detections.scores.tolist(), detections.class_ids.tolist(), strict=True
        )
    ]
    hidden = Anonymiser(settings.privacy.anonymise).paint(frame.image, objects, frame.width, frame.height)
    drawing.write(drawing.draw(hidden, objects), path)
    labels = ", ".join(f"{one.label} {one.confidence:.2f}" for one in objects) or "nothing"
    return f"{path}: camera {camera.id}, {detector.model_name} saw {labels} in {spent_ms:.0f} ms"


def _find(cameras: tuple[CameraSettings, ...], camera_id: str | None) -> CameraSettings:
    for camera in cameras:
        if camera_id in (None, camera.id):
            return camera
    known = ", ".join(camera.id for camera in cameras) or "none"
    raise SettingsError(f"--camera: {camera_id!r} is not configured; there are {known}")
