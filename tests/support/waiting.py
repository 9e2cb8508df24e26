"""Wait for a condition."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(probe: Callable[[], T | None], timeout_s: float = 60.0, what: str = "the condition") -> T:
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come about within {timeout_s:.0f} s")
        time.sleep(0.05)


async def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait on the event loop until a condition holds.

    Raises:
        TimeoutError: it does not within ``timeout_s``.
    """
    # What the loop's other tasks do takes no time; what threads and peers do takes some.
    async with asyncio.timeout(timeout_s):
        for pause in itertools.chain(itertools.repeat(0, 200), itertools.repeat(0.002)):
            if condition():
                return
            await asyncio.sleep(pause)
