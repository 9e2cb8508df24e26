"""Why frames were dropped of late."""

from __future__ import annotations

from app.cameras import DroppedLately
from app.cameras.ledger import DropReason
from app.cameras.recent_drops import KEPT_DROPS, LATELY_S, RecentDrops


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_dropped_long_ago_is_no_longer_counted():
    time = Time()
    drops = RecentDrops(time)
    for _ in range(50):
        drops.record(DropReason.UNAVAILABLE)
    time.now += LATELY_S / 2
    drops.record(DropReason.SUPERSEDED)
    drops.record(DropReason.SUPERSEDED, held_back=True)
    assert drops.snapshot() == DroppedLately({DropReason.UNAVAILABLE: 50, DropReason.SUPERSEDED: 2}, 1)
    time.now += LATELY_S / 2 + 1
    assert drops.snapshot() == DroppedLately({DropReason.SUPERSEDED: 2}, 1)
    time.now += LATELY_S
    assert drops.snapshot() == DroppedLately({}, 0)


def test_however_many_are_dropped_only_so_many_are_kept():
    drops = RecentDrops(Time())
    for _ in range(KEPT_DROPS + 100):
        drops.record(DropReason.OVERLOADED)
    drops.record(DropReason.DEADLINE)
    assert drops.snapshot().by_reason == {DropReason.OVERLOADED: KEPT_DROPS - 1, DropReason.DEADLINE: 1}
