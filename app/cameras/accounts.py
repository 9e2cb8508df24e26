"""CameraObserver, and Accounts: the ledger, the last drops and the observer, always told the same."""

from __future__ import annotations

from typing import Protocol

from app.cameras.ledger import CameraLedger, DropReason, LedgerSnapshot
from app.cameras.outcome import Fate, Outcome
from app.cameras.recent_drops import DroppedLately, RecentDrops


class CameraObserver(Protocol):
    """Who wants to know what happens, for metrics; called from the capture thread and from the event loop."""

    def sampled(self) -> None:
        """A frame was picked by the grid."""

    def accepted(self) -> None:
        """The service answered ``OK`` for a frame."""

    def dropped(self, reason: DropReason) -> None:
        """A frame becomes no event."""

    def in_flight(self, frames: int) -> None:
        """So many frames are sampled and not yet settled."""

    def up(self, live: bool) -> None:
        """Whether the source gives frames."""

    def reconnected(self) -> None:
        """The source is opened again."""


class NullObserver:
    """Wants to know nothing."""

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
    """Writes each frame's fate into the ledger and tells the observer; thread-safe as both are."""

    def __init__(self, ledger: CameraLedger, recent: RecentDrops, observer: CameraObserver) -> None:
        self._ledger = ledger
        self._recent = recent
        self._observer = observer

    def sample(self) -> None:
        """A frame begins its way."""
        self._ledger.sample()
        self._observer.sampled()
        self.tell()

    def drop(self, reason: DropReason, *, held_back: bool = False) -> None:
        """A frame ends, without an event; ``held_back``: it was not sent because the service is busy."""
        self._ledger.drop(reason)
        self._recent.note(reason, held_back=held_back)
        self._observer.dropped(reason)
        self.tell()

    def settle(self, outcome: Outcome) -> None:
        """A frame ends as the outcome says."""
        if outcome.fate is Fate.ACCEPTED:
            self._ledger.accept()
            self._observer.accepted()
            self.tell()
        elif outcome.fate is Fate.UNCONFIRMED:
            self._ledger.lose_answer()
            self.tell()
        else:
            assert outcome.reason is not None, "a dropped frame has its reason"
            self.drop(outcome.reason)

    def snapshot(self) -> LedgerSnapshot:
        """Read the ledger."""
        return self._ledger.snapshot()

    def dropped_lately(self) -> DroppedLately:
        """Read the last drops."""
        return self._recent.read()

    def tell(self) -> None:
        """Tell the observer how many frames are in flight."""
        self._observer.in_flight(self._ledger.snapshot().in_flight)
