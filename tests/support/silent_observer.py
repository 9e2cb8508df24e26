"""An observer of a publisher that keeps nothing; others keep what they are about."""

from __future__ import annotations

from app.publisher.spool.analysis import Judged


class SilentObserver:
    """Does nothing when it is notified."""

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        """Do nothing."""

    def outbox(self, channel: str, waiting: int) -> None:
        """Do nothing."""

    def judged(self, camera_id: str, judged: Judged) -> None:
        """Do nothing."""

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        """Do nothing."""
