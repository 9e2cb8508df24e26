"""Quantiles of a sample, by the nearest rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantiles:
    """The median and two upper quantiles of a sample."""

    count: int
    """How many values the sample has; at least 1."""
    p50: float
    p95: float
    p99: float


def quantiles(values: Sequence[float]) -> Quantiles | None:
    """Return the quantiles of ``values`` in their own unit; ``None`` of an empty sample.

    Each is a value of the sample, the one whose index is nearest to its share of the last index; nothing is
    interpolated.

    >>> quantiles([3.0, 1.0, 2.0])
    Quantiles(count=3, p50=2.0, p95=3.0, p99=3.0)
    """
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    return Quantiles(len(ordered), *(ordered[round(share * last)] for share in (0.50, 0.95, 0.99)))
