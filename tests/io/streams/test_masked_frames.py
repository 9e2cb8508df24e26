"""A masked zone at the gRPC boundary: what the service is handed is black there, frame after frame."""

from __future__ import annotations

import asyncio

import cv2
import grpc
import numpy as np
import pytest

from app.cameras.camera import Camera
from app.cameras.sending.client import DetectClient
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.rpc.sightline.inference.v1 import inference_pb2_grpc as rpc
from app.settings.cameras import CameraSettings
from app.settings.connections import TlsSettings
from app.settings.service_address import ServiceAddress

MASK = ((0.0, 0.5), (0.6, 0.5), (0.6, 1.0), (0.0, 1.0))


class Service(rpc.InferenceServiceServicer):
    """Counts what it is handed, and looks into the masked zone of each picture."""

    def __init__(self) -> None:
        self.frames, self.brightest, self.shown = 0, 0, 0.0

    async def Detect(self, request: pb.DetectRequest, context: object) -> pb.DetectResponse:  # noqa: N802
        image = cv2.imdecode(np.frombuffer(request.image, np.uint8), cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        # A margin of one block of JPEG: black beside a bright street is not exactly black there.
        zone = image[height // 2 + 16 :, : int(0.6 * width) - 16]
        self.brightest = max(self.brightest, int(zone.max()))
        self.shown = max(self.shown, float(image[: height // 2].mean()))
        self.frames += 1
        return pb.DetectResponse(event_id="1", camera_id=request.camera_id, frame_id=request.frame_id)


@pytest.mark.parametrize("frames", [30, pytest.param(1000, marks=pytest.mark.slow)])
async def test_a_masked_zone_is_black_in_every_frame_at_the_grpc_boundary(frames: int):
    service, server = Service(), grpc.aio.server()
    rpc.add_InferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = DetectClient(ServiceAddress.parse(f"127.0.0.1:{port}"), tls=TlsSettings(), token=None)
    settings = CameraSettings(
        id="gate", url="synthetic://street?seed=7&fps=60&width=320&height=240&objects=10", fps=60, masks=[MASK]
    )
    camera = Camera(settings, client=client, epoch=1, budget_ms=60_000)
    running = asyncio.create_task(camera.run())
    async with asyncio.timeout(240):
        while service.frames < frames:
            await asyncio.sleep(0.02)
    await camera.stop()
    await running
    await client.close()
    await server.stop(None)
    assert service.brightest <= 8
    assert service.shown > 30
