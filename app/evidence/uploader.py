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
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.5
"""Pauses while the store fails: an address resolves within 5 s of its return, though the first tries may fail too."""
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
        self._failures = 0
        """Uploads that failed since the last one that did not."""
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
        uploads: dict[asyncio.Task[StoreUnavailable | None], str] = {}
        try:
            while True:
                for row in await self._next(set(uploads.values())):
                    uploads[asyncio.get_running_loop().create_task(self._upload(row))] = row.key
                if not uploads:
                    await self._sleep(LOOK_S)
                    continue
                count = len(uploads)
                ended, _ = await asyncio.wait(uploads, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    del uploads[task]
                await self._judge([task.result() for task in ended], count)
        finally:
            for task in uploads:
                task.cancel()
            await asyncio.gather(*uploads, return_exceptions=True)

    async def _next(self, keys: Collection[str]) -> Sequence[EvidenceRow]:
        """Return what to upload beside the pieces with these keys."""
        free = (AT_ONCE if self._fault is None else 1) - len(keys)
        if free <= 0:
            return ()
        try:
            # Those under way still wait in the spool: with so many more there are enough that are not.
            waiting = await self._backlog.waiting(len(keys) + free)
        except SightlineError:
            return ()  # the spool is away: reported by whoever writes to it
        return [row for row in waiting if row.key not in keys][:free]

    async def _judge(self, outcomes: Sequence[StoreUnavailable | None], count: int) -> None:
        """Say of some uploads that ended, of so many under way, whether the store fails; pause where it does.

        A store that answers one request in three with an error is no store that fails: as many must fail one after the
        other as there were under way.
        """
        faults = [outcome for outcome in outcomes if outcome is not None]
        if len(faults) < len(outcomes):
            self._failures = 0
            self._backoff.reset()
            self._fault = None
            self._outage.resolve("evidence is stored again")
            return
        self._failures += len(faults)
        if self._fault is None and self._failures < count:
            return
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
