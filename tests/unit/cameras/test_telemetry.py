"""What a camera's metrics count of what its actor tells."""

from __future__ import annotations

from dataclasses import replace

from app.cameras import CameraStatus
from app.cameras.ledger import CameraLedger, DropReason
from app.cameras.telemetry import counted_since
from tests.support.statuses import camera


def told(ledger: CameraLedger, epoch: int = 1, reconnects: int = 0) -> CameraStatus:
    return replace(camera(epoch=epoch), ledger=ledger.snapshot(), reconnects=reconnects)


def test_each_frame_is_counted_once_over_all_lives_of_a_camera():
    ledger = CameraLedger()
    for _ in range(3):
        ledger.sample()
    ledger.accept()
    ledger.drop(DropReason.DEADLINE)
    first = told(ledger, reconnects=1)
    assert counted_since(None, first) == {
        "sampled": 3,
        "accepted": 1,
        "reconnected": 1,
        DropReason.DEADLINE: 1,
    }
    assert counted_since(first, first) == {}
    ledger.sample()
    assert counted_since(first, told(ledger, reconnects=1)) == {"sampled": 1}
    reborn = CameraLedger()
    reborn.sample()
    assert counted_since(first, told(reborn, epoch=2)) == {"sampled": 1}
