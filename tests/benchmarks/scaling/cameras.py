"""Cameras of the benchmark: the real ``Camera`` and its client, with a source that costs nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from app.cameras.camera import Camera
from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate, Outcome
from app.cameras.sending.client import DetectClient
from app.cameras.sources import Capture, FrameTime, RawFrame
from app.core.clock import Clock
from app.settings.cameras import CameraSettings
from app.settings.service_address import ServiceAddress

PICTURE = np.full((48, 64, 3), 128, np.uint8)


@dataclass
class Log:
    """Every sampled frame's fate, with the second at which it was settled."""

    began: float
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """Second, and milliseconds from capture to ``OK``."""
    drops: list[tuple[float, str]] = field(default_factory=list)
    """Second and reason."""
    sampled: int = 0

    def now(self) -> float:
        return time.monotonic() - self.began

    def fates(self) -> Counter[str]:
        return Counter({"sampled": self.sampled, "accepted": len(self.latencies)}) + Counter(
            reason for _, reason in self.drops
        )


class _Observer:
    def __init__(self, log: Log) -> None:
        self._log = log

    def sampled(self) -> None:
        self._log.sampled += 1

    def accepted(self) -> None:
        pass

    def dropped(self, reason: DropReason) -> None:
        self._log.drops.append((self._log.now(), reason.value))

    def in_flight(self, frames: int) -> None:
        pass

    def up(self, live: bool) -> None:
        pass

    def reconnected(self) -> None:
        pass


class _Timed:
    """A camera's client that notes how long an accepted frame took."""

    def __init__(self, client: DetectClient, log: Log) -> None:
        self._client, self._log = client, log

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        outcome = await self._client.detect(frame, remaining_s)
        if outcome.fate is Fate.ACCEPTED:
            self._log.latencies.append((self._log.now(), (time.monotonic() - frame.captured) * 1000))
        return outcome


class _Ticks:
    """A live source that gives one small grey picture at an even rate."""

    live = True

    def __init__(self, fps: float) -> None:
        self._period_s = 1 / fps
        self._over = threading.Event()
        self._index = -1
        self._start = 0.0

    def open(self) -> None:
        self._start = time.monotonic()

    def grab(self) -> FrameTime | None:
        self._index += 1
        due = self._start + self._index * self._period_s
        if self._over.wait(max(0.0, due - time.monotonic())):
            return None
        return FrameTime(self._index, self._index * self._period_s)

    def retrieve(self) -> RawFrame:
        return RawFrame.of(PICTURE, Capture.now(Clock()))

    def interrupt(self) -> None:
        self._over.set()

    def close(self) -> None:
        pass


class Fleet:
    """As many cameras as are asked for, spread evenly over the time between two frames."""

    def __init__(self, port: int, fps: float, budget_ms: int, log: Log) -> None:
        self._port, self._fps, self._budget_ms, self._log = port, fps, budget_ms, log
        self._cameras: list[tuple[Camera, DetectClient, asyncio.Task[None]]] = []

    async def resize(self, count: int, of: int) -> None:
        """Add or end cameras; ``of`` is the most there will be, for their phases."""
        while len(self._cameras) > count:
            camera, client, task = self._cameras.pop()
            await camera.stop()
            await task
            await client.close()
        for number in range(len(self._cameras), count):
            await asyncio.sleep(1 / self._fps / of)
            self._cameras.append(self._start(number))

    def _start(self, number: int) -> tuple[Camera, DetectClient, asyncio.Task[None]]:
        client = DetectClient(ServiceAddress(host="127.0.0.1", port=self._port))
        camera = Camera(
            CameraSettings.model_validate({"id": f"cam-{number}", "url": "synthetic://street", "fps": self._fps}),
            client=_Timed(client, self._log),
            epoch=time.time_ns() // 1_000_000,
            budget_ms=self._budget_ms,
            observer=_Observer(self._log),
            source_factory=lambda url, fps, clock: _Ticks(fps),
        )
        return camera, client, asyncio.get_running_loop().create_task(camera.run())
