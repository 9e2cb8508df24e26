"""Backoff: how long to wait before the next try."""

from __future__ import annotations

import random


class Backoff:
    """Doubles from ``first_s`` to ``most_s``; each wait is drawn from its upper half, never above it."""

    def __init__(self, first_s: float, most_s: float, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._rng = rng or random.Random()
        self._failures = 0

    @property
    def failures(self) -> int:
        """Tries that failed since the last ``reset``."""
        return self._failures

    def next(self) -> float:
        """Count a failed try and give the seconds to wait before the next."""
        # The exponent is bounded: a camera that is away for months would overflow a float.
        ceiling = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return ceiling * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Forget the failures: a try succeeded."""
        self._failures = 0
