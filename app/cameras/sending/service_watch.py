"""ServiceWatch: judges by the outcomes of a camera's frames whether the service blocks it, and why."""

from __future__ import annotations

from collections.abc import Mapping

from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate, Outcome
from app.cameras.sources import Capture
from app.cameras.status import Blocked, ServiceTrouble
from app.core.clock import Clock

_TROUBLES: Mapping[DropReason, ServiceTrouble] = {
    DropReason.DEADLINE: ServiceTrouble.SLOW,
    DropReason.OVERLOADED: ServiceTrouble.FULL,
    DropReason.UNAVAILABLE: ServiceTrouble.AWAY,
    DropReason.REJECTED: ServiceTrouble.REFUSING,
    # One frame may come late; if all frames do, a camera of the same id was started since.
    DropReason.OUT_OF_ORDER: ServiceTrouble.REFUSING,
}
"""The other reasons say nothing about the service."""


class ServiceWatch:
    """A camera is blocked once its frames have failed in a row for ``patience_s`` seconds, until one is accepted.

    A single late frame is no block. The state of the source is neither used nor changed.
    """

    def __init__(self, clock: Clock, patience_s: float) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._first: Capture | None = None
        self._blocked: Blocked | None = None

    @property
    def blocked(self) -> Blocked | None:
        """What blocks the camera now; ``None`` where nothing does."""
        return self._blocked

    def record(self, outcome: Outcome) -> None:
        """Record the outcome of the next frame."""
        if outcome.fate is Fate.ACCEPTED:
            self._first = self._blocked = None
        elif (trouble := _trouble(outcome)) is not None:
            now = Capture.now(self._clock)
            self._first = self._first or now
            if now.monotonic - self._first.monotonic >= self._patience_s:
                self._blocked = Blocked(trouble, outcome.detail, self._first.at)


def _trouble(outcome: Outcome) -> ServiceTrouble | None:
    if outcome.fate is Fate.UNCONFIRMED:
        return ServiceTrouble.AWAY
    return None if outcome.reason is None else _TROUBLES.get(outcome.reason)
