"""Wait for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(probe: Callable[[], T | None], timeout_s: float = 60.0, what: str = "the condition") -> T:
    """Ask until the answer is true, and give it."""
    end = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come about within {timeout_s:.0f} s")
        time.sleep(0.05)
