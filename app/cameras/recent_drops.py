"""RecentDrops: why a camera's frames became no events in the last seconds; the ledger counts the whole epoch."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.cameras.ledger import DropReason

LATELY_S = 10.0
"""Seconds that count as recent; the rates of a camera are taken over as many."""
KEPT_DROPS = 1024
"""Drops kept at most, which at more than a hundred a second cover less than ``LATELY_S``."""


@dataclass(frozen=True)
class DroppedLately:
    """Frames dropped in the last seconds."""

    by_reason: Mapping[DropReason, int] = field(default_factory=dict)
    """Counts; a reason without a recent drop is left out."""
    held_back: int = 0
    """Number of those superseded that the camera held back because the service was busy; see
    ``app/cameras/sending/pace.py``."""


class RecentDrops:
    """Keeps the last drops, in bounded memory; thread-safe."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Begin empty; ``monotonic`` returns seconds."""
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._drops: deque[tuple[float, DropReason, bool]] = deque(maxlen=KEPT_DROPS)

    def record(self, reason: DropReason, *, held_back: bool = False) -> None:
        """Record a frame that is dropped now."""
        with self._lock:
            self._drops.append((self._monotonic(), reason, held_back))

    def snapshot(self) -> DroppedLately:
        """Return the counts of the recent drops."""
        since = self._monotonic() - LATELY_S
        with self._lock:
            while self._drops and self._drops[0][0] < since:
                self._drops.popleft()
            kept = tuple(self._drops)
        return DroppedLately(Counter(reason for _, reason, _ in kept), sum(held for _, _, held in kept))
