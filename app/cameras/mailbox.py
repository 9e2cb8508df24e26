"""Mailbox: hands the newest item from a thread to an event loop; it holds one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds the newest item only; ``put`` returns the item that it displaces.

    ``put``, ``finish`` and ``discard`` may be called from any thread, ``take`` on the loop that was bound.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: T | None = None
        self._finished = False
        self._waits = False
        """Whether ``take`` waits to be woken; waking a loop from another thread costs a system call."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop on which ``take`` is called; before the first ``put``."""
        self._loop = loop

    def put(self, item: T) -> T | None:
        """Put an item; return the one that it displaces, or the item itself once the mailbox is finished."""
        with self._lock:
            if self._finished:
                return item
            displaced, self._item = self._item, item
        self._wake()
        return displaced

    async def take(self, accept: Callable[[T], bool] = lambda _: True) -> T | None:
        """Return an item that ``accept`` accepts, once there is one; ``None`` once the mailbox is finished and empty.

        An item that is not accepted stays, for a newer one to displace it; once the mailbox is finished, all are taken.
        """
        while True:
            with self._lock:
                item = self._item
                if self._finished or (item is not None and accept(item)):
                    self._item = None
                    return item
                self._changed.clear()
                self._waits = True
            await self._changed.wait()

    def finish(self) -> None:
        """Accept no more items; the one that waits can still be taken."""
        with self._lock:
            self._finished = True
        self._wake()

    def discard(self) -> T | None:
        """Accept no more items; remove and return the one that waited."""
        with self._lock:
            self._finished = True
            item, self._item = self._item, None
        self._wake()
        return item

    def _wake(self) -> None:
        with self._lock:
            waits, self._waits = self._waits, False
        if waits and self._loop is not None:
            # A thread that outlives the loop has nothing left to wake.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._changed.set)
