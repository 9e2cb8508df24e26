"""Accounts: records each frame in the ledger, in the recent drops and with the observer, always alike."""

from __future__ import annotations

from typing import Protocol

from app.cameras.ledger import CameraLedger, DropReason, LedgerSnapshot
from app.cameras.outcome import Fate, Outcome
from app.cameras.recent_drops import DroppedLately, RecentDrops


class CameraObserver(Protocol):
    """Receives what happens to a camera's frames, for metrics; called by the capture thread and by the event loop."""

    def sampled(self) -> None:
        """Count a frame that the sampling grid picked."""

    def accepted(self) -> None:
        """Count a frame that the service answered ``OK``."""

    def dropped(self, reason: DropReason) -> None:
        """Count a frame that becomes no event."""

    def in_flight(self, frames: int) -> None:
        """Set the number of frames that are sampled and not yet settled."""

    def up(self, live: bool) -> None:
        """Set whether the source gives frames."""

    def reconnected(self) -> None:
        """Count a new try to open the source."""


class NullObserver:
    """Ignores everything."""

    def sampled(self) -> None:
        """Do nothing."""

    def accepted(self) -> None:
        """Do nothing."""

    def dropped(self, reason: DropReason) -> None:
        """Do nothing."""

    def in_flight(self, frames: int) -> None:
        """Do nothing."""

    def up(self, live: bool) -> None:
        """Do nothing."""

    def reconnected(self) -> None:
        """Do nothing."""


class Accounts:
    """Records each frame's fate in the ledger and notifies the observer; thread-safe, as both are."""

    def __init__(self, ledger: CameraLedger, recent: RecentDrops, observer: CameraObserver) -> None:
        self._ledger = ledger
        self._recent = recent
        self._observer = observer

    def sample(self) -> None:
        """Count a sampled frame; it is in flight until it is settled."""
        self._ledger.sample()
        self._observer.sampled()
        self.notify_in_flight()

    def drop(self, reason: DropReason, *, held_back: bool = False) -> None:
        """Settle a frame that becomes no event; ``held_back``: it was not sent because the service is busy."""
        self._ledger.drop(reason)
        self._recent.record(reason, held_back=held_back)
        self._observer.dropped(reason)
        self.notify_in_flight()

    def settle(self, outcome: Outcome) -> None:
        """Settle a frame as its outcome says."""
        if outcome.fate is Fate.ACCEPTED:
            self._ledger.accept()
            self._observer.accepted()
            self.notify_in_flight()
        elif outcome.fate is Fate.UNCONFIRMED:
            self._ledger.lose_answer()
            self.notify_in_flight()
        else:
            assert outcome.reason is not None, "a dropped frame has its reason"
            self.drop(outcome.reason)

    def snapshot(self) -> LedgerSnapshot:
        """Return the counts of the ledger."""
        return self._ledger.snapshot()

    def dropped_lately(self) -> DroppedLately:
        """Return the recent drops."""
        return self._recent.snapshot()

    def notify_in_flight(self) -> None:
        """Notify the observer of the number of frames in flight."""
        self._observer.in_flight(self._ledger.snapshot().in_flight)
