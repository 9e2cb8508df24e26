"""SharedAnswer: one answer for all callers within a short time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """Asks at most once per ``for_s`` seconds, and never twice at the same time. For one event loop."""

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
        """Return the answer, asked for now or less than ``for_s`` seconds ago.

        Raises:
            Exception: whatever asking raised; the next caller asks again.
        """
        if self._asking is None:
            if self._monotonic() < self._until:
                return self._answer
            self._asking = asyncio.ensure_future(self._fetch())
        # Shielded: a cancelled caller must not cancel the answer for the others.
        return await asyncio.shield(self._asking)

    def forget(self) -> None:
        """Ask again at the next call; callers that wait already get the answer that is under way."""
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
