"""The camera's ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from app.cameras.ledger import CameraLedger, DropReason


def test_every_sampled_frame_is_in_exactly_one_place():
    ledger = CameraLedger()
    for _ in range(6):
        ledger.sample()
    ledger.accept()
    ledger.drop(DropReason.SUPERSEDED)
    ledger.drop(DropReason.DEADLINE)
    ledger.lose_answer()
    snapshot = ledger.snapshot()
    assert (snapshot.sampled, snapshot.accepted, snapshot.unconfirmed, snapshot.in_flight) == (6, 1, 1, 2)
    assert snapshot.dropped_total == 2
    assert snapshot.balanced


def test_a_snapshot_names_every_reason_even_when_nothing_was_dropped():
    assert CameraLedger().snapshot().dropped == dict.fromkeys(DropReason, 0)


def test_it_balances_in_every_snapshot_while_many_threads_count():
    ledger = CameraLedger()

    def count(number: int) -> bool:
        ledger.sample()
        balanced = ledger.snapshot().balanced
        if number % 3 == 0:
            ledger.accept()
        elif number % 3 == 1:
            ledger.drop(DropReason.OVERLOADED)
        else:
            ledger.lose_answer()
        return balanced and ledger.snapshot().in_flight >= 0

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(count, range(3000)))
    snapshot = ledger.snapshot()
    assert (snapshot.sampled, snapshot.in_flight) == (3000, 0)
