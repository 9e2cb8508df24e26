"""Ending asyncio tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

RETRY_S = 0.1
"""Seconds between two cancellations of a task that goes on."""


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; what they raise is dropped.

    One cancellation is not enough: up to Python 3.11 ``asyncio.wait_for`` swallows one that comes in the same iteration
    of the event loop as the result (cpython issue 86296), and the task goes on.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=RETRY_S)
    await asyncio.gather(*tasks, return_exceptions=True)
