"""A camera's status."""

from __future__ import annotations

from datetime import UTC, datetime

from app.cameras import CameraState, CameraStatus
from app.cameras.ledger import DropReason, LedgerSnapshot


def camera(name: str = "a", epoch: int = 1, state: CameraState = CameraState.LIVE, **dropped: int) -> CameraStatus:
    ledger = LedgerSnapshot(100, 90, 0, 0, {reason: dropped.get(reason.value, 0) for reason in DropReason})
    since = datetime(2026, 1, 1, tzinfo=UTC)
    return CameraStatus(name, "url", state, "", since, epoch, ledger, 640, 360, 5.0, 5.0, 20.0, 0)
