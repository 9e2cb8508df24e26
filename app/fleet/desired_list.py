"""DesiredList: what is configured, with the changes made at run time applied and kept: of cameras, or of rules."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.errors import ChangeError, ChangeNotKept
from app.fleet.override_store import OverrideStore
from app.fleet.overrides import Desired, Overrides
from app.settings.configured import Configured, E

logger = logging.getLogger("ray.serve")

T = TypeVar("T")
ACQUIRE_POLL_S = 0.2
"""How often the folder of the overrides is tried while a predecessor still has it."""


@dataclass(frozen=True)
class EntryKind:
    """What the entries of a list are called, and what is raised where one is missing or taken."""

    name: str
    field: str
    """The entry's id in the log's JSON."""
    unknown: type[ChangeError]
    exists: type[ChangeError]


class DesiredList(Generic[E]):
    """The desired entries: those configured, with the overrides made at run time applied.

    An override is on the disk before it takes effect. For one event loop.
    """

    def __init__(
        self,
        kind: EntryKind,
        configured: Configured[E],
        store: OverrideStore[E],
        apply: Callable[[Sequence[Desired[E]]], None],
    ) -> None:
        """Begin with what is configured.

        Args:
            kind: what the entries are called.
            configured: what is configured now.
            store: keeps the overrides.
            apply: called with the desired entries, at first and whenever they may have changed.
        """
        self._kind = kind
        self._configured = configured
        self._store = store
        self._apply = apply
        self._overrides: Overrides[E] = Overrides()
        self._acquired = False
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._update()

    @property
    def desired(self) -> Sequence[Desired[E]]:
        """Every entry there should be."""
        return self._desired

    async def open(self, patience_s: float) -> None:
        """Load the overrides of the last run; failing that, log it and go on with what is configured.

        Args:
            patience_s: how long a predecessor that is being shut down may still hold them.
        """
        end = time.monotonic() + patience_s
        try:
            while not await asyncio.to_thread(self._store.acquire) and time.monotonic() < end:  # noqa: ASYNC110 - a file lock has no event
                await asyncio.sleep(ACQUIRE_POLL_S)
            async with self._lock:
                await self._acquire()
        except ChangeNotKept as error:
            logger.error("%ss: changes made at run time are not loaded: %s", self._kind.name, error)

    async def add(self, entry: E) -> None:
        """Add an entry.

        Raises:
            ChangeError: its id is taken (of the type that the kind names).
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._shielded(self._add(entry))

    async def replace(self, entry_id: str, revise: Callable[[E], E]) -> None:
        """Change an entry to what ``revise`` returns for the current one.

        Raises:
            ChangeError: there is no entry of that id (of the type that the kind names).
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._shielded(self._replace(entry_id, revise))

    async def remove(self, entry_id: str) -> None:
        """Remove an entry; raises as :meth:`replace`."""
        await self._shielded(self._remove(entry_id))

    async def configure(self, configured: Configured[E]) -> None:
        """Set what is configured; an override of an entry whose configuration has changed is dropped."""
        await self._shielded(self._configure(configured))

    def close(self) -> None:
        """Release the store."""
        self._store.close()

    async def _shielded(self, change: Coroutine[Any, Any, T]) -> T:
        """Complete a change though its caller may be cancelled: what is stored and what runs must agree."""
        task = asyncio.get_running_loop().create_task(change)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _add(self, entry: E) -> None:
        async with self._lock:
            await self._acquire()
            if self._find(entry.id) is not None:
                raise self._kind.exists(f"there is a {self._kind.name} {entry.id!r} already")
            await self._save(self._overrides.with_entry(entry, self._configured))
            self._log(entry.id, "added at run time")

    async def _replace(self, entry_id: str, revise: Callable[[E], E]) -> None:
        async with self._lock:
            await self._acquire()
            current = self._require(entry_id)
            complete = revise(current)
            if complete != current:
                await self._save(self._overrides.with_entry(complete, self._configured))
                self._log(entry_id, "changed at run time")

    async def _remove(self, entry_id: str) -> None:
        async with self._lock:
            await self._acquire()
            self._require(entry_id)
            await self._save(self._overrides.without_entry(entry_id, self._configured))
            self._log(entry_id, "removed at run time")

    async def _configure(self, configured: Configured[E]) -> None:
        async with self._lock:
            if configured != self._configured:
                self._configured = configured
                await self._retain(self._overrides)
                self._update()

    async def _acquire(self) -> None:
        """Acquire the store and load its overrides, where that is not done yet."""
        if self._acquired:
            return
        if not await asyncio.to_thread(self._store.acquire):
            folder = str(self._store.path.parent)
            raise ChangeNotKept(f"another running system uses {folder!r}; give each its own SIGHTLINE_STATE_DIR")
        overrides = await asyncio.to_thread(self._store.load)
        self._acquired = True
        await self._retain(overrides)
        self._update()

    async def _retain(self, overrides: Overrides[E]) -> None:
        """Keep the overrides that are still in force."""
        self._overrides = overrides.in_force(self._configured)
        for entry_id in overrides.by_id.keys() - self._overrides.by_id.keys():
            self._log(entry_id, "its change at run time is dropped, as its configuration has changed")
        if self._acquired and self._overrides != overrides:
            try:
                await asyncio.to_thread(self._store.save, self._overrides)
            except ChangeNotKept as error:
                # What stays in the file is dropped at the next start as well.
                logger.warning("%ss: %s", self._kind.name, error)

    async def _save(self, overrides: Overrides[E]) -> None:
        await asyncio.to_thread(self._store.save, overrides)
        self._overrides = overrides
        self._update()

    def _update(self) -> None:
        """Compute the desired entries and hand them on."""
        self._desired = self._overrides.applied_to(self._configured)
        self._apply(self._desired)

    def _find(self, entry_id: str) -> E | None:
        return next((one.settings for one in self._desired if one.settings.id == entry_id), None)

    def _require(self, entry_id: str) -> E:
        found = self._find(entry_id)
        if found is None:
            raise self._kind.unknown(f"there is no {self._kind.name} {entry_id[:64]!r}")
        return found

    def _log(self, entry_id: str, what: str) -> None:
        logger.info("%s %s: %s", self._kind.name, entry_id, what, extra={self._kind.field: entry_id})
