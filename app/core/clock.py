"""Clock: the two clocks of a camera and its way of waiting, passed in so that tests need not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """What time it is, and how to wait; the default is the machine's own."""

    wall_ns: Callable[[], int] = time.time_ns
    """Nanoseconds since 1970 UTC: for the event and the metrics, never for a deadline."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds: for every span and every deadline."""
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    """Wait that many seconds, or until the event is set; whether it is set."""
