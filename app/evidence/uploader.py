"""EvidenceUploader: brings evidence from the spool into the store, whenever and as often as it takes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from app.core.backoff import Backoff
from app.errors import EvidenceRefused, SightlineError, StoreRefused, StoreUnavailable
from app.evidence.folder import EvidenceFolder
from app.evidence.rows import EvidenceRow
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

AT_ONCE = 8
"""Uploads under way at the same time; one alone while the store fails."""
LOOK_S = 0.5
"""How often the spool is looked at for new evidence."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.0
"""Pauses while the store fails: an address resolves within 5 s of its return."""
REFUSED_PAUSE_S = 10.0
"""Pause while the store refuses us: someone has to mend that."""


class Store(Protocol):
    """Where evidence goes."""

    async def put(self, key: str, data: bytes) -> None:
        """Store an object.

        Raises:
            EvidenceRefused: the store takes no such object, ever.
            StoreUnavailable: it could not be stored now.
        """


class Backlog(Protocol):
    """The evidence spool, as the uploader asks it; each call is a transaction of its own."""

    async def waiting(self, limit: int) -> Sequence[EvidenceRow]:
        """Return what waits for the store, the most urgent first."""

    async def stored(self, keys: Collection[str]) -> None:
        """Record that the store has some evidence."""

    async def refused(self, key: str, reason: str) -> None:
        """Record that some evidence cannot be stored, ever."""

    async def lacking(self, key: str) -> None:
        """Record that the bytes of some evidence are gone."""


class EvidenceUploader:
    """Uploads what waits, the oldest snapshots first; plain asyncio, for one event loop.

    Nothing is given up here: as long as the store fails, evidence waits in the spool, whose quota decides. What was
    stored and not yet noted when the process died is stored again, under the same key.
    """

    def __init__(
        self,
        store: Store,
        backlog: Backlog,
        folder: EvidenceFolder,
        *,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._backlog = backlog
        self._folder = folder
        self._sleep = sleep
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, rng)
        self._fault: StoreUnavailable | None = None
        self._outage = TroubleLog(logger, "evidence cannot be stored", unit="tries")
        self._task: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str:
        """Why evidence cannot be stored now; empty while it can."""
        return "" if self._fault is None else str(self._fault)

    def start(self) -> None:
        """Begin to upload."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; what was under way is uploaded again by the next one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                waiting = await self._backlog.waiting(1 if self._fault is not None else AT_ONCE)
            except SightlineError:
                waiting = ()  # the spool is away: reported by whoever writes to it
            if not waiting:
                await self._sleep(LOOK_S)
                continue
            faults = [fault for fault in await asyncio.gather(*map(self._upload, waiting)) if fault is not None]
            if len(faults) < len(waiting):
                self._backoff.reset()
                self._fault = None
                self._outage.resolve("evidence is stored again")
            else:
                self._fault = faults[0]
                self._outage.report(str(self._fault))
                refused = isinstance(self._fault, StoreRefused)
                await self._sleep(REFUSED_PAUSE_S if refused else self._backoff.next())

    async def _upload(self, row: EvidenceRow) -> StoreUnavailable | None:
        """Upload one piece; return why not, where it could not be."""
        data = await asyncio.to_thread(self._folder.read, row.key)
        try:
            if data is None:
                await self._backlog.lacking(row.key)
            else:
                await self._put(row.key, data)
        except StoreUnavailable as error:
            return error
        except SightlineError:
            return None  # the spool is away; it is uploaded again
        return None

    async def _put(self, key: str, data: bytes) -> None:
        try:
            await self._store.put(key, data)
        except EvidenceRefused as error:
            await self._backlog.refused(key, str(error))
        else:
            await self._backlog.stored([key])
