"""Silences: cameras that are gone have their incidents and objects ended, though no frame of them comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from app.publisher.channel_drains import ChannelDrains
from app.publisher.spool.analysis import Judged
from app.publisher.spool.writer import SpoolWriter

FIRST_LOOK_S = 60.0
"""A camera of which nothing came for so long is looked at."""
NEXT_LOOK_S = 30.0
"""Then again after so long each: a slow camera may be silent for longer."""
MOST_AT_ONCE = 50
"""Cameras of one transaction."""


class Silences:
    """When each camera was last heard of; used from one event loop."""

    def __init__(
        self,
        spool: SpoolWriter,
        drains: ChannelDrains,
        judged: Callable[[str, Judged], None],
        *,
        wall_ns: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._drains = drains
        self._judged = judged
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._heard: dict[str, float] = {}
        self._look_at: dict[str, float] = {}
        """When to look at a camera, or somewhat later: one that was looked at has its turn behind all others."""

    def heard(self, camera_id: str) -> None:
        """Record that an event of a camera was committed just now."""
        now = self._monotonic()
        self._heard[camera_id] = now
        self._look_at.pop(camera_id, None)
        self._look_at[camera_id] = now + FIRST_LOOK_S

    def watch(self, cameras: Iterable[str]) -> None:
        """Watch cameras of an earlier publisher, as if they had been heard of just now."""
        for camera_id in cameras:
            self.heard(camera_id)

    async def end_due(self) -> None:
        """End what is under way at cameras that were silent for too long.

        Raises:
            DeliveryUnavailable: it cannot be written down now.
        """
        now = self._monotonic()
        due: dict[str, float | None] = {}
        for camera_id, at in self._look_at.items():
            if at > now or len(due) >= MOST_AT_ONCE:
                break
            due[camera_id] = now - self._heard[camera_id]
        for camera_id in due:
            del self._look_at[camera_id]
            self._look_at[camera_id] = now + NEXT_LOOK_S
        if due:
            await self._end(due)

    async def end(self, camera_ids: Iterable[str]) -> None:
        """End what is under way at cameras that were removed.

        Raises:
            DeliveryUnavailable: it cannot be written down now.
        """
        await self._end(dict.fromkeys(camera_ids))

    async def _end(self, silent_s: Mapping[str, float | None]) -> None:
        heard = {camera_id: self._heard.get(camera_id) for camera_id in silent_s}
        for camera_id, ended in (await self._spool.end_cameras(silent_s, self._wall_ns())).items():
            if ended is None:
                continue
            self._drains.queue(ended.records)
            self._judged(camera_id, ended.judged)
            if self._heard.get(camera_id) == heard[camera_id]:  # else it is there again
                self._heard.pop(camera_id, None)
                self._look_at.pop(camera_id, None)
