"""The rate of events over the last seconds."""

from __future__ import annotations

from collections.abc import Iterable


def per_second(times: Iterable[float], now: float, window_s: float = 10.0) -> float:
    """Return the rate per second of events at ``times`` (rising, monotonic seconds) over the last ``window_s``."""
    recent = [at for at in times if now - at <= window_s]
    if len(recent) < 2:
        return 0.0
    # The time since the last event counts once it is longer than usual: without events the rate falls.
    usual = (recent[-1] - recent[0]) / (len(recent) - 1)
    spent = recent[-1] - recent[0] + max(0.0, now - recent[-1] - 2 * usual)
    return (len(recent) - 1) / spent if spent > 0 else 0.0
