"""What the camera tests stand on: a clock moved by hand, video files, scripted sources, a gRPC server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import av
import grpc
import numpy as np
from numpy.typing import NDArray

from app.cameras.camera import Camera, CameraTiming
from app.cameras.sending.sender import FrameSender
from app.cameras.sources import Capture, FrameTime, RawFrame, Source
from app.core.clock import Clock
from app.errors import SourceEnded, SourceUnavailable
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.rpc.sightline.inference.v1 import inference_pb2_grpc as rpc
from app.settings.cameras import CameraSettings
from app.settings.source_url import SourceUrl

Answer = Callable[[pb.DetectRequest, grpc.aio.ServicerContext], Awaitable[pb.DetectResponse]]


class ManualClock:
    """Moves only when somebody waits on it, or moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waited: list[float] = []

    def clock(self) -> Clock:
        return Clock(wall_ns=lambda: int(self.now * 1e9), monotonic=lambda: self.now, wait=self._wait)

    def _wait(self, event: threading.Event, seconds: float) -> bool:
        if event.is_set():
            return True
        self.waited.append(seconds)
        self.now += seconds
        return False


def grey(level: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def drain(source: Source, seen: list[FrameTime], each: Callable[[FrameTime], None] = lambda _: None) -> None:
    """Grab until the source raises, or is interrupted."""
    while (timing := source.grab()) is not None:
        seen.append(timing)
        each(timing)


def write_video(
    path: Path,
    stamps_ms: Sequence[int],
    images: Sequence[NDArray[np.uint8]],
    codec: str = "mpeg4",
    rotation: int | None = None,
    form: str | None = None,
) -> Path:
    """Encode images at the given times."""
    height, width = images[0].shape[:2]
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for stamp, image in zip(stamps_ms, images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class ScriptedSource:
    """A live source reported by the test what to do next: frames, failures, silence."""

    live = True

    def __init__(self, images: Sequence[int | Exception], every_s: float = 0.02, then: str = "silence") -> None:
        self._script = list(images)
        self._every_s = every_s
        self._then = then
        self._interrupted = threading.Event()
        self._index = -1
        self.closed = 0
        self.retrieved: list[int] = []

    def open(self) -> None:
        if self._script and isinstance(self._script[0], SourceUnavailable):
            raise self._script[0]

    def grab(self) -> FrameTime | None:
        self._index += 1
        if self._index >= len(self._script):
            if self._then == "end":
                raise SourceEnded("the script is over")
            self._interrupted.wait(30)
        if self._interrupted.wait(self._every_s if self._index else 0):
            return None
        step = self._script[self._index]
        if isinstance(step, Exception):
            raise step
        return FrameTime(self._index, self._index * self._every_s)

    def retrieve(self) -> RawFrame:
        self.retrieved.append(self._index)
        level = self._script[self._index]
        assert isinstance(level, int)
        return RawFrame.of(grey(level), Capture.now(Clock()))

    def interrupt(self) -> None:
        self._interrupted.set()

    def close(self) -> None:
        self.closed += 1


class Sources:
    """A source factory that gives the scripted sources one after the other, then the last again."""

    def __init__(self, *sources: Source) -> None:
        self.sources = list(sources)
        self.opened = 0

    def __call__(self, url: SourceUrl, fps: float, clock: Clock) -> Source:
        self.opened += 1
        return self.sources[min(self.opened, len(self.sources)) - 1]


async def accept(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
    return pb.DetectResponse(camera_id=request.camera_id, frame_id=request.frame_id)


class Service(rpc.InferenceServiceServicer):
    """A real gRPC server on a free port of the loopback, which answers as it is reported."""

    def __init__(self, answer: Answer = accept) -> None:
        self.answer = answer
        self.requests: list[pb.DetectRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.received = asyncio.Event()
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def Detect(self, request, context):  # noqa: N802 - gRPC's name
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        self.received.set()
        return await self.answer(request, context)

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self._server = grpc.aio.server()
        rpc.add_InferenceServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        await self._server.start()

    async def kill(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace=None)


def abort_with(code: grpc.StatusCode, details: str = "as the test wants it") -> Answer:
    async def answer(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
        await context.abort(code, details)
        raise AssertionError("abort raises")

    return answer


QUICK = CameraTiming(
    stall_s=2.0,
    reopen_first_s=0.02,
    reopen_max_s=0.1,
    resend_first_s=0.02,
    resend_max_s=0.05,
    settle_s=1.0,
)
"""What repeats is quick; what is waited for is longer than a busy machine leaves a thread without its turn."""


Factory = Callable[[SourceUrl, float, Clock], Source]


def settings(url: str = "rtsp://viewer:hunter2@gate.example/1", fps: float = 50.0) -> CameraSettings:
    return CameraSettings.model_validate({"id": "gate", "url": url, "fps": fps})


def camera_of(source: Source | Factory, client: FrameSender, budget_ms: float = 2000, **more: object) -> Camera:
    factory = source if callable(source) else Sources(source)
    more.setdefault("timing", QUICK)
    return Camera(settings(), client=client, epoch=7, budget_ms=budget_ms, source_factory=factory, **more)


@asynccontextmanager
async def running(camera: Camera) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(camera.run())
    try:
        yield task
    finally:
        await camera.stop()
        await task
        ledger = camera.status().ledger
        assert ledger.balanced
        assert ledger.in_flight == 0
        assert not [
            t for t in threading.enumerate() if t.name.startswith(("capture-gate", "encode-gate")) and _stays(t)
        ]


def _stays(thread: threading.Thread) -> bool:
    thread.join(5)
    return thread.is_alive()
