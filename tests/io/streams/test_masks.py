"""Masks: what a camera sends of real sources is black where its polygons are."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.cameras.camera import Camera
from app.cameras.frame import EncodedFrame
from app.cameras.outcome import Outcome
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.cameras import CameraSettings
from tests.support.http_server import HttpServer
from tests.support.recordings import stamps_at, write_recording

MASKS = (((0.0, 0.0), (0.5, 0.0), (0.5, 0.4), (0.0, 0.4)), ((0.6, 0.6), (1.0, 0.6), (1.0, 1.0), (0.6, 1.0)))
STAMPS = stamps_at(Fraction(10), 0.5)


def bright(_number: int, width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 200, np.uint8)


class Kept:
    """A service that keeps the pictures it is sent."""

    def __init__(self) -> None:
        self.sent: list[EncodedFrame] = []

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        self.sent.append(frame)
        return Outcome.accepted(pb.DetectResponse())


async def sent(url: str, max_side: int | None, count: int) -> list[np.ndarray]:
    """Return the pictures that a camera with the masks sends of a source."""
    service = Kept()
    settings = CameraSettings(id="gate", url=url, fps=10, max_side=max_side, masks=MASKS)
    await Camera(settings, client=service, epoch=1, budget_ms=60_000).run()
    assert len(service.sent) >= count
    return [cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR) for frame in service.sent]


@pytest.mark.parametrize("max_side", [None, 200])
@pytest.mark.parametrize("kind", ["h264", "mjpeg", "rotated", "pictures"])
async def test_what_a_camera_sends_is_black_where_its_masks_are(tmp_path: Path, kind: str, max_side: int | None):
    if kind == "pictures":
        for number in range(3):
            cv2.imwrite(str(tmp_path / f"{number}.jpg"), bright(0, 320, 240))
        url = f"{tmp_path}?loop=false"
    else:
        name, codec = ("v.avi", "mjpeg") if kind == "mjpeg" else ("v.mp4", "libx264")
        write_recording(tmp_path / name, STAMPS, codec, rotation=90 if kind == "rotated" else None, picture=bright)
        url = f"{tmp_path / name}?loop=false"
    for image in await sent(url, max_side, 3):
        assert_masked(image)


async def test_a_snapshot_that_would_be_passed_on_as_it_came_is_masked_first(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "still.jpg"), bright(0, 320, 240))
    with HttpServer(tmp_path) as server:
        service = Kept()
        settings = CameraSettings(id="gate", url=server.url("files/still.jpg"), fps=10, masks=MASKS)
        camera = Camera(settings, client=service, epoch=1, budget_ms=60_000)
        await first_of(camera, service)
    assert_masked(cv2.imdecode(np.frombuffer(service.sent[0].jpeg, np.uint8), cv2.IMREAD_COLOR))


async def first_of(camera: Camera, service: Kept) -> None:
    running = asyncio.create_task(camera.run())
    async with asyncio.timeout(30):
        while not service.sent:
            await asyncio.sleep(0.01)
    await camera.stop()
    await running


def assert_masked(image: np.ndarray) -> None:
    height, width = image.shape[:2]
    inside = [image[: int(0.37 * height), : int(0.47 * width)], image[int(0.63 * height) :, int(0.63 * width) :]]
    # Some levels of JPEG's own ringing from the bright side of an edge are no pixel of the picture.
    assert max(part.max() for part in inside) < 16
    assert image[int(0.45 * height) : int(0.55 * height), : int(0.5 * width)].max() > 100
