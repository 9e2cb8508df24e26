"""EventHub: what cameras see, collected while somebody watches and handed to everybody who does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from app.cameras import AnsweredFrame
from app.telemetry.trouble_log import TroubleLog
from app.web.facts import CameraSource, Cursor
from app.web.shared_answer import SharedAnswer

logger = logging.getLogger(__name__)

PERIOD_S = 0.5
"""How often cameras are asked while somebody watches."""
KEPT = 100
"""Frames kept of each camera."""
QUEUE = 200
"""Frames that may wait for a slow viewer; then the oldest are left out, and counted."""
MAX_VIEWERS = 50
"""Streams open at the same time."""


class TooManyViewers(Exception):
    """So many streams are open that one more is refused."""


class Viewer:
    """One who watches: a bounded queue, whose oldest frames give way."""

    def __init__(self) -> None:
        self._waiting: deque[AnsweredFrame] = deque(maxlen=QUEUE)
        self._news = asyncio.Event()
        self.missed = 0
        """Frames left out because they were not taken in time."""

    def give(self, seen: Sequence[AnsweredFrame]) -> None:
        """Put frames into the queue."""
        self.missed += max(0, len(self._waiting) + len(seen) - QUEUE)
        self._waiting.extend(seen)
        self._news.set()

    async def take(self, timeout_s: float) -> list[AnsweredFrame]:
        """Return all that waits; nothing, where nothing came within the time."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        self._news.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class EventHub:
    """Collects from the cameras: one call to each per period while anybody watches, none while nobody does."""

    def __init__(self, cameras: CameraSource, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cameras = cameras
        self._after: dict[str, Cursor] = {}
        self._recent: dict[str, deque[AnsweredFrame]] = {}
        self._viewers: set[Viewer] = set()
        self._unseen = TroubleLog(
            logger, "what the cameras see cannot be collected", unit="tries", level=logging.ERROR, monotonic=monotonic
        )
        self._collected = SharedAnswer(self._collect, PERIOD_S * 0.9, monotonic)
        self._collector: asyncio.Task[None] | None = None

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[Viewer]:
        """Watch what is seen from now on.

        Raises:
            TooManyViewers: there are enough of them.
        """
        if not self._viewers:
            with contextlib.suppress(Exception):  # whatever it is, the next collection tells
                await self._collected.get()  # what was seen before anybody watched is no news
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
        """Return the last frames, the newest first; of one camera, or of all."""
        await self._collected.get()
        chosen = self._recent.values() if camera_id is None else [self._recent.get(camera_id, deque())]
        every = [seen for frames in chosen for seen in frames]
        return sorted(every, key=lambda seen: seen.captured_at, reverse=True)[:limit]

    async def _keep_collecting(self) -> None:
        while True:
            try:
                await self._collected.get()
                self._unseen.over("what the cameras see is collected again")
            except Exception as error:  # noqa: BLE001 - those who watch wait for the next try
                self._unseen.again(type(error).__name__, error=error)
            await asyncio.sleep(PERIOD_S)

    async def _collect(self) -> None:
        ids = set(self._cameras.camera_ids)
        for gone in self._recent.keys() - ids:
            del self._recent[gone]
            self._after.pop(gone, None)
        fresh: list[AnsweredFrame] = []
        for news in await self._cameras.news({camera_id: self._after.get(camera_id, Cursor()) for camera_id in ids}):
            if news.seen:
                self._after[news.camera_id] = Cursor(news.epoch, news.seen[-1].number)
                self._recent.setdefault(news.camera_id, deque(maxlen=KEPT)).extend(news.seen)
                fresh.extend(news.seen)
        fresh.sort(key=lambda seen: seen.captured_at)
        for viewer in self._viewers if fresh else ():
            viewer.give(fresh)
