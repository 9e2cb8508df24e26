"""Backoff: capped exponential delays with jitter between tries."""

from __future__ import annotations

import random
import threading

_MAX_EXPONENT = 32
"""A peer that is away for months would overflow a float."""


class Backoff:
    """Delays that double from ``first_s`` to ``max_s``, each drawn from the upper half of its range, never above it.

    The jitter keeps clients that lost one server from returning in step ("equal jitter": Brooker, "Exponential Backoff
    And Jitter", AWS Architecture Blog, 2015). It only computes delays, so an event loop and a thread can both wait by
    it; thread-safe, since the success that resets it may be reported by another thread than the one that waits.

    >>> backoff = Backoff(0.5, 4.0)
    >>> 0.25 <= backoff.next() <= 0.5 <= backoff.next() <= 1.0
    True
    >>> backoff.failures
    2
    >>> backoff.reset()
    >>> backoff.delay_s
    0.0
    """

    def __init__(self, first_s: float, max_s: float, rng: random.Random | None = None) -> None:
        """Begin without failures; delays are in seconds, and ``rng`` draws the jitter."""
        self._first_s = first_s
        self._max_s = max_s
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._failures = 0
        self._delay_s = 0.0

    @property
    def failures(self) -> int:
        """Number of tries that failed since the last ``reset``."""
        return self._failures

    @property
    def delay_s(self) -> float:
        """Seconds to wait before the next try: as the last ``next`` returned, and 0 where none has failed."""
        return self._delay_s

    def next(self) -> float:
        """Count a failed try and return the seconds to wait before the next one."""
        with self._lock:
            ceiling_s = min(self._max_s, self._first_s * 2.0 ** min(self._failures, _MAX_EXPONENT))
            self._failures += 1
            self._delay_s = ceiling_s * self._rng.uniform(0.5, 1.0)
            return self._delay_s

    def reset(self) -> None:
        """Forget the failures: a try succeeded."""
        with self._lock:
            self._failures = 0
            self._delay_s = 0.0
