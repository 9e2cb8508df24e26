"""ChannelDrains: the drains of the other topics, each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from app.core.channel import CHANNELS, Channel
from app.publisher.camera_queue import Pending
from app.publisher.drain import Drain, Sink
from app.publisher.outlet import ChannelOutlet
from app.publisher.snapshot import ChannelSnapshot
from app.publisher.spool.outbox import OutboxAccounts, WaitingRecord
from app.publisher.spool.rows import SpoolAccounts
from app.publisher.spool.writer import SpoolWriter


class ChannelDrains:
    """Sends the records of each channel that is turned on; those of others stay in the spool."""

    def __init__(
        self,
        sinks: Mapping[Channel, Sink],
        spool: SpoolWriter,
        *,
        max_held: int,
        wall_ns: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._drains = {
            channel: Drain(sink, ChannelOutlet(spool, channel), max_held=max_held, wall_ns=wall_ns, monotonic=monotonic)
            for channel, sink in sinks.items()
        }

    def resume(self, waiting: Iterable[tuple[Channel, str]], last_id: int) -> None:
        """Send what a previous publisher left: channel and camera of it."""
        cameras: dict[Channel, list[str]] = {channel: [] for channel in CHANNELS}
        for channel, camera_id in waiting:
            cameras[channel].append(camera_id)
        for channel, drain in self._drains.items():
            drain.resume(cameras[channel], last_id)

    def queue(self, records: Iterable[WaitingRecord]) -> None:
        """Send records after those of their camera."""
        for one in records:
            drain = self._drains.get(one.record.channel)
            if drain is not None:
                drain.queue(one.record.camera_id, Pending.of(one))

    def fetch(self, channel: str, camera_id: str) -> None:
        """Send what waits on disk of a camera."""
        for name, drain in self._drains.items():
            if name == channel:
                drain.fetch([camera_id])

    def evict_idle(self) -> None:
        """Forget cameras of which nothing came for long."""
        for drain in self._drains.values():
            drain.evict_idle()

    def snapshot(self, spool: SpoolAccounts | None) -> Mapping[Channel, ChannelSnapshot]:
        """Return the numbers of each channel that is turned on, and its trouble."""
        known = spool.channels if spool else {}
        return {
            channel: ChannelSnapshot(known.get(channel, OutboxAccounts()), drain.trouble)
            for channel, drain in self._drains.items()
        }

    async def flush(self, patience_s: float) -> None:
        """Wait until nothing waits for its topic any more, or it cannot be delivered now; at most ``patience_s``."""
        await asyncio.gather(*(drain.flush(patience_s) for drain in self._drains.values()))

    async def close(self) -> None:
        """Stop sending; what waits stays in the spool."""
        for drain in self._drains.values():
            await drain.close()
