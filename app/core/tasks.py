"""Ending tasks that wait for answers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_S = 0.1


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended; what they raise is dropped.

    Once is not enough: up to Python 3.11 ``asyncio.wait_for`` swallows a cancellation that comes in the same turn as
    the answer (cpython issue 86296), and the task goes on.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
