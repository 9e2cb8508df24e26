"""CameraLedger: what became of every sampled frame, each counted exactly once (``proto/README.md``, "Ledgers")."""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class DropReason(enum.StrEnum):
    """Why a sampled frame became no event."""

    SUPERSEDED = "superseded"
    """A newer frame replaced it before it was sent."""
    DEADLINE = "deadline"
    """Its latency budget ran out."""
    OVERLOADED = "overloaded"
    """The service was full."""
    REJECTED = "rejected"
    """The service found the request invalid."""
    UNAVAILABLE = "unavailable"
    """No service was there, or it could not make the event durable."""
    OUT_OF_ORDER = "out_of_order"
    """A later frame of the camera had been committed."""
    ENCODE_ERROR = "encode_error"
    """It could not be encoded."""
    DAMAGED = "damaged"
    """The decoder says that the picture is not whole."""
    SHUTDOWN = "shutdown"
    """The camera was stopped while it waited."""


@dataclass(frozen=True)
class LedgerSnapshot:
    """All counts at one instant; ``sampled = accepted + dropped + unconfirmed + in_flight`` always holds."""

    sampled: int
    accepted: int
    unconfirmed: int
    """Sent, but the answer was lost: it may or may not have become an event."""
    in_flight: int
    """Sampled and not yet settled: waiting to be encoded, being encoded, or sent."""
    dropped: Mapping[DropReason, int]

    @property
    def dropped_total(self) -> int:
        """Frames dropped, whatever the reason."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """Whether every sampled frame is counted exactly once."""
        return self.sampled == self.accepted + self.dropped_total + self.unconfirmed + self.in_flight


class CameraLedger:
    """Counts the frames of one epoch of one camera; every method is atomic and thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sampled = self._accepted = self._unconfirmed = 0
        self._dropped: Counter[DropReason] = Counter()

    def sample(self) -> None:
        """Count a sampled frame; it is in flight until it is settled."""
        with self._lock:
            self._sampled += 1

    def accept(self) -> None:
        """Settle a frame that the service answered ``OK``."""
        with self._lock:
            self._accepted += 1

    def drop(self, reason: DropReason) -> None:
        """Settle a frame that becomes no event."""
        with self._lock:
            self._dropped[reason] += 1

    def lose_answer(self) -> None:
        """Settle a frame whose answer was lost."""
        with self._lock:
            self._unconfirmed += 1

    def snapshot(self) -> LedgerSnapshot:
        """Return all counts at one instant."""
        with self._lock:
            settled = self._accepted + self._unconfirmed + sum(self._dropped.values())
            return LedgerSnapshot(
                sampled=self._sampled,
                accepted=self._accepted,
                unconfirmed=self._unconfirmed,
                in_flight=self._sampled - settled,
                dropped=MappingProxyType({reason: self._dropped[reason] for reason in DropReason}),
            )
