"""Watched: a whole camera in this process, without Ray, whose service only notes what it was sent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from app.cameras import CameraState, CameraStatus
from app.cameras.camera import Camera, CameraTiming
from app.cameras.frame import EncodedFrame
from app.cameras.outcome import Outcome
from app.core.clock import Clock
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.cameras import CameraSettings
from tests.support.numbered import read
from tests.support.waiting import wait_for

DOWN = frozenset({CameraState.STALLED, CameraState.RECONNECTING, CameraState.OFFLINE})
PATIENCE_S = 60.0
"""What a busy machine may take for anything; a test that holds a camera to a time says so itself."""


@dataclass(frozen=True)
class Sent:
    """One frame as the service got it."""

    number: int
    at: float
    """By the monotonic clock."""
    size: tuple[int, int]


class Watched:
    """Runs a camera on an event loop of its own; a context manager."""

    def __init__(
        self,
        url: str,
        fps: float = 5.0,
        timing: CameraTiming | None = None,
        stall_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.sent: list[Sent] = []
        self.history: list[tuple[CameraState, str]] = []
        """Every state it was seen in, with its reason: what a test saw itself is always there."""
        self._noting = threading.Lock()
        self._url = url
        self._fps = fps
        self._timing = timing
        self._stall_s = stall_s
        self._clock = clock
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Watched:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive() and self.state is not CameraState.ENDED:
            asyncio.run_coroutine_threadsafe(self._camera.stop(), self._loop).result(30)
        self._thread.join(10)

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        """Note the frame, and accept it."""
        image = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
        self.sent.append(Sent(read(image), time.monotonic(), (image.shape[1], image.shape[0])))
        return Outcome.accepted(pb.DetectResponse())

    def status(self) -> CameraStatus:
        """The camera's status now, noted in the history."""
        with self._noting:
            status = self._camera.status()
            if not self.history or self.history[-1] != (status.state, status.reason):
                self.history.append((status.state, status.reason))
            return status

    @property
    def state(self) -> CameraState:
        return self.status().state

    def until(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S, what: str = "") -> float:
        """Wait until a condition holds, and return the seconds that it took."""
        began = time.monotonic()
        wait_for(condition, timeout_s, what or f"what is awaited of a camera that is {self.state}")
        return time.monotonic() - began

    def until_live(self, timeout_s: float = PATIENCE_S) -> float:
        """Wait until it is live and a frame has come from now on; return the seconds that it took."""
        count = len(self.sent)
        return self.until(lambda: self.state is CameraState.LIVE and len(self.sent) > count, timeout_s, "a live camera")

    def until_down(self, timeout_s: float = PATIENCE_S) -> float:
        return self.until(lambda: self.state in DOWN, timeout_s, "a camera that is down")

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        settings = CameraSettings(id="gate", url=self._url, fps=self._fps, stall_s=self._stall_s)
        self._camera = Camera(settings, client=self, epoch=1, budget_ms=5000, timing=self._timing, clock=self._clock)
        self._ready.set()
        noting = asyncio.create_task(self._note())
        await self._camera.run()
        noting.cancel()

    async def _note(self) -> None:
        while True:
            self.status()
            await asyncio.sleep(0.02)
