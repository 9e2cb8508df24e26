"""SharedAnswer: an answer shared by all who ask within a short while, however many they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """Asks at most once per ``for_s`` seconds, and never twice at the same time; for one event loop."""

    def __init__(
        self, ask: Callable[[], Awaitable[T]], for_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._for_s = for_s
        self._monotonic = monotonic
        self._until = float("-inf")
        self._answer: T
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the answer, asked for now or a short while ago.

        Raises:
            Exception: whatever asking raised; the next one asks anew.
        """
        if self._asking is None:
            if self._monotonic() < self._until:
                return self._answer
            self._asking = asyncio.ensure_future(self._fetch())
        # Shielded: who leaves must not take the answer away from the others.
        return await asyncio.shield(self._asking)

    def forget(self) -> None:
        """Ask anew the next time; who waits for an answer still gets the one that was asked for."""
        self._asking = None
        self._until = float("-inf")

    async def _fetch(self) -> T:
        asking = asyncio.current_task()
        try:
            answer = await self._ask()
            if self._asking is asking:
                self._answer = answer
                self._until = self._monotonic() + self._for_s
            return answer
        finally:
            if self._asking is asking:
                self._asking = None
