"""Window: sums over the last seconds, in buckets, so that memory does not grow with the rate."""

from __future__ import annotations

from collections import deque

BUCKET_S = 0.25
"""Width of a bucket, in seconds."""


class Window:
    """Sums rows of ``width`` numbers, and drops those older than ``span_s`` seconds.

    Times are monotonic seconds and passed in; they never go back.
    """

    def __init__(self, span_s: float, width: int, started: float) -> None:
        self.span_s = span_s
        self._started = started
        self._width = width
        self._buckets: deque[tuple[float, list[float]]] = deque()

    def add(self, now: float, *values: float) -> None:
        """Add one row."""
        begin = now // BUCKET_S * BUCKET_S
        if not self._buckets or self._buckets[-1][0] < begin:
            self._expire(now)
            self._buckets.append((begin, [0.0] * self._width))
        row = self._buckets[-1][1]
        for index, value in enumerate(values):
            row[index] += value

    def sums(self, now: float) -> tuple[float, ...]:
        """Return the sum of each column."""
        self._expire(now)
        return tuple(sum(row[index] for _, row in self._buckets) for index in range(self._width))

    def seconds(self, now: float) -> float:
        """Return the seconds that the sums cover: the whole span, or less at the beginning."""
        return min(self.span_s, max(BUCKET_S, now - self._started))

    def _expire(self, now: float) -> None:
        while self._buckets and self._buckets[0][0] <= now - self.span_s:
            self._buckets.popleft()
