"""EventHub: collects the cameras' frames while streams are open, and distributes them to the streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from app.cameras import AnsweredFrame, Cursor
from app.telemetry.trouble_log import TroubleLog
from app.web.facts import CameraSource
from app.web.shared_answer import SharedAnswer

logger = logging.getLogger(__name__)

PERIOD_S = 0.5
"""How often the cameras are asked while a stream is open."""
KEPT = 100
"""Frames kept of each camera."""
QUEUE = 200
"""Frames that may wait for a slow viewer; beyond, the oldest are dropped, and counted."""
MAX_VIEWERS = 50
"""Streams open at the same time."""


class TooManyViewers(Exception):
    """The limit of open streams is reached."""


class Viewer:
    """One open stream: a bounded queue that drops its oldest frames."""

    def __init__(self) -> None:
        self._waiting: deque[AnsweredFrame] = deque(maxlen=QUEUE)
        self._filled = asyncio.Event()
        self.missed = 0
        """Frames dropped because they were not taken in time."""

    def put(self, frames: Sequence[AnsweredFrame]) -> None:
        """Put frames into the queue."""
        self.missed += max(0, len(self._waiting) + len(frames) - QUEUE)
        self._waiting.extend(frames)
        self._filled.set()

    async def take(self, timeout_s: float) -> list[AnsweredFrame]:
        """Return all waiting frames; none, where none came within the time."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._filled.wait(), timeout_s)
        self._filled.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class EventHub:
    """Asks each camera once per period while any stream is open, and never otherwise. For one event loop."""

    def __init__(self, cameras: CameraSource, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cameras = cameras
        self._after: dict[str, Cursor] = {}
        self._recent: dict[str, deque[AnsweredFrame]] = {}
        self._viewers: set[Viewer] = set()
        self._failures = TroubleLog(
            logger, "the cameras' frames cannot be collected", unit="tries", level=logging.ERROR, monotonic=monotonic
        )
        self._collected = SharedAnswer(self._collect, PERIOD_S * 0.9, monotonic)
        self._collector: asyncio.Task[None] | None = None

    @property
    def viewers(self) -> int:
        """The number of open streams."""
        return len(self._viewers)

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[Viewer]:
        """Open a stream of the frames from now on.

        Raises:
            TooManyViewers: the limit of open streams is reached.
        """
        if not self._viewers:
            with contextlib.suppress(Exception):  # the next collection logs it
                await self._collected.get()  # frames from before the first stream are not part of it
        if len(self._viewers) >= MAX_VIEWERS:
            raise TooManyViewers(f"too many viewers: {MAX_VIEWERS} event streams are open already")
        viewer = Viewer()
        self._viewers.add(viewer)
        if self._collector is None:
            self._collector = asyncio.ensure_future(self._keep_collecting())
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            if not self._viewers and self._collector is not None:
                self._collector.cancel()
                self._collector = None

    async def recent(self, camera_id: str | None, limit: int) -> list[AnsweredFrame]:
        """Return the last frames, newest first, of one camera or of all."""
        await self._collected.get()
        chosen = self._recent.values() if camera_id is None else [self._recent.get(camera_id, deque())]
        every = [frame for frames in chosen for frame in frames]
        return sorted(every, key=lambda frame: frame.captured_at, reverse=True)[:limit]

    async def _keep_collecting(self) -> None:
        while True:
            try:
                await self._collected.get()
                self._failures.resolve("the cameras' frames are collected again")
            except Exception as error:  # noqa: BLE001 - the streams wait for the next try
                self._failures.report(type(error).__name__, error=error)
            await asyncio.sleep(PERIOD_S)

    async def _collect(self) -> None:
        ids = set(self._cameras.camera_ids)
        for removed in self._recent.keys() - ids:
            del self._recent[removed]
            self._after.pop(removed, None)
        fresh: list[AnsweredFrame] = []
        for news in await self._cameras.new_frames(
            {camera_id: self._after.get(camera_id, Cursor()) for camera_id in ids}
        ):
            if news.frames:
                self._after[news.camera_id] = Cursor(news.epoch, news.frames[-1].number)
                self._recent.setdefault(news.camera_id, deque(maxlen=KEPT)).extend(news.frames)
                fresh.extend(news.frames)
        fresh.sort(key=lambda frame: frame.captured_at)
        for viewer in self._viewers if fresh else ():
            viewer.put(fresh)
