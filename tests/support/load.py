"""Load: cameras of the test's own that call ``Detect`` and remember what they were reported."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import grpc
import numpy as np

from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.rpc.sightline.inference.v1 import inference_pb2_grpc as pb_grpc

METADATA = (("application", "inference"),)
_PROMPT = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


def picture(seed: int = 0, width: int = 160, height: int = 96) -> bytes:
    """Return a small JPEG."""
    grain = np.random.default_rng(seed).integers(96, 160, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", grain)[1].tobytes()


@dataclass(frozen=True)
class Call:
    """One call and its answer."""

    camera_id: str
    epoch: int
    sequence: int
    sent: float
    """Seconds, monotonic."""
    answered: float
    code: grpc.StatusCode
    details: str
    event_id: str
    """Empty unless it was accepted."""

    @property
    def accepted(self) -> bool:
        return self.code is grpc.StatusCode.OK


class Load:
    """Some cameras, each with one call in flight at a steady rate, until it is stopped."""

    def __init__(self, target: str, cameras: tuple[str, ...], fps: float, budget_ms: int = 0) -> None:
        self._target = target
        self._cameras = cameras
        self._period_s = 1.0 / fps
        self._budget_ms = budget_ms
        self._epoch = time.time_ns() // 1_000_000
        self._stop = threading.Event()
        self._calls: list[Call] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @property
    def calls(self) -> list[Call]:
        """All answered so far, in the order of their answers."""
        return list(self._calls)

    @property
    def accepted(self) -> list[Call]:
        """Those that were answered ``OK``."""
        return [call for call in self.calls if call.accepted]

    def answered_ok_after(self, moment: float) -> Call | None:
        """Return the first accepted call that was sent after a moment."""
        return next((call for call in self.accepted if call.sent > moment), None)

    def start(self) -> Load:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the load did not come to its end"

    async def _run(self) -> None:
        async with grpc.aio.insecure_channel(self._target, options=_PROMPT) as channel:
            stub = pb_grpc.InferenceServiceStub(channel)
            await asyncio.gather(*(self._watch(stub, camera, seed) for seed, camera in enumerate(self._cameras)))

    async def _watch(self, stub: pb_grpc.InferenceServiceStub, camera_id: str, seed: int) -> None:
        image, sequence, due = picture(seed), 0, time.monotonic()
        while not self._stop.is_set():
            sequence += 1
            self._calls.append(await self._ask(stub, camera_id, sequence, image))
            due = max(due + self._period_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _ask(self, stub: pb_grpc.InferenceServiceStub, camera_id: str, sequence: int, image: bytes) -> Call:
        request = pb.DetectRequest(
            camera_id=camera_id,
            frame_id=f"{self._epoch}-{sequence}",
            image=image,
            epoch=self._epoch,
            sequence=sequence,
            latency_budget_ms=self._budget_ms,
        )
        request.captured_at.GetCurrentTime()
        sent, event_id, code, details = time.monotonic(), "", grpc.StatusCode.OK, ""
        try:
            event_id = (await stub.Detect(request, metadata=METADATA, timeout=15)).event_id
        except grpc.aio.AioRpcError as error:
            code, details = error.code(), error.details() or ""
        return Call(camera_id, self._epoch, sequence, sent, time.monotonic(), code, details, event_id)


@contextmanager
def load(target: str, name: str, *, cameras: int = 3, fps: float = 4.0, budget_ms: int = 0) -> Iterator[Load]:
    """Keep a load up; the cameras are called ``name-0``, ``name-1``, …."""
    running = Load(target, tuple(f"{name}-{number}" for number in range(cameras)), fps, budget_ms).start()
    try:
        yield running
    finally:
        running.stop()
