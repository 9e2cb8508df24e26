"""RecentDrops: why a camera's frames became no events of late; the ledger tells it of the whole life."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.cameras.ledger import DropReason

LATELY_S = 10.0
"""What is older is no longer of late; the rates of a camera look as far back."""
KEPT_DROPS = 1024
"""The most that are kept, which at over a hundred drops a second is less than ``LATELY_S``."""


@dataclass(frozen=True)
class DroppedLately:
    """Frames dropped of late."""

    by_reason: Mapping[DropReason, int] = field(default_factory=dict)
    """Reasons with no such frame are left out."""
    held_back: int = 0
    """How many of the superseded ones the camera held back, since the service was busy; see
    ``app/cameras/sending/pace.py``."""


class RecentDrops:
    """Keeps the last drops; thread-safe, and bounded whatever happens."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Make an empty one; ``monotonic`` gives seconds."""
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._drops: deque[tuple[float, DropReason, bool]] = deque(maxlen=KEPT_DROPS)

    def note(self, reason: DropReason, *, held_back: bool = False) -> None:
        """A frame was dropped now."""
        with self._lock:
            self._drops.append((self._monotonic(), reason, held_back))

    def read(self) -> DroppedLately:
        """Count those of late."""
        since = self._monotonic() - LATELY_S
        with self._lock:
            while self._drops and self._drops[0][0] < since:
                self._drops.popleft()
            kept = tuple(self._drops)
        return DroppedLately(Counter(reason for _, reason, _ in kept), sum(held for _, _, held in kept))
