"""Clock: wall time, monotonic time and an interruptible wait, passed in so that tests need not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """What time it is, and how to wait; the default is the machine's own clock."""

    wall_ns: Callable[[], int] = time.time_ns
    """Return the nanoseconds since 1970 UTC: for the event and the metrics, never for a deadline."""
    monotonic: Callable[[], float] = time.monotonic
    """Return monotonic seconds: for every time span and every deadline."""
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    """Wait for an event, at most so many seconds; return whether it is set."""
