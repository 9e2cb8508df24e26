"""Which shard has which camera, and what several shards say as one."""

from __future__ import annotations

from collections import Counter, deque

import pytest

from app.core.quantiles import Quantiles, quantiles
from app.errors import DeliveryUnavailable
from app.evidence.rows import EvidenceAccounts
from app.publisher import (
    ChannelSnapshot,
    EvidenceSnapshot,
    PublisherSnapshot,
    ShardReading,
    merge_readings,
    shard_of,
    shards_of,
)
from app.publisher.spool.outbox import OutboxAccounts


def reading(times: int = 1, latencies: tuple[float, ...] = (), trouble: str = "", **how: object) -> ShardReading:
    values: dict[str, object] = {
        **{"accepted": 10, "published": 4, "spooled": 3, "quarantined": 2, "discarded": 1, "destroyed": 1},
        **{"spool_bytes": 900, "in_flight": 5, "failed": 6, "out_of_order": 7, "repeated": 8, "breaches": 9},
    }
    values = {name: value * times for name, value in values.items()}  # type: ignore[operator]
    by_camera = {f"cam-{times}": 4 * times}
    snapshot = PublisherSnapshot(
        **{"oldest_s": 1.5 * times, "by_camera": by_camera, **values, **how},  # type: ignore[arg-type]
        latency=quantiles(deque(latencies)),
        trouble=trouble,
    )
    return ShardReading(snapshot, latencies)


def test_a_camera_s_shard_is_the_same_in_every_process_and_release():
    assert [shard_of(camera, 4) for camera in ("gate-1", "gate-2", "street-east", "street-west")] == [1, 3, 2, 2]
    assert {shard_of(f"cam-{number}", 1) for number in range(100)} == {0}


@pytest.mark.parametrize("count", [2, 3, 4, 7, 16])
def test_cameras_are_spread_over_all_shards(count: int):
    cameras = [f"cam-{number}" for number in range(100 * count)]
    shares = Counter(shard_of(camera, count) for camera in cameras)
    assert set(shares) == set(range(count))
    assert 60 < min(shares.values()) <= max(shares.values()) < 150


def test_shards_are_numbered_from_one():
    assert [shard.part for shard in shards_of(3)] == ["1-of-3", "2-of-3", "3-of-3"]
    assert [shard.alone for shard in (*shards_of(1), *shards_of(2))] == [True, False, False]


def test_one_shard_s_reading_is_given_as_it_is():
    assert merge_readings([reading()]) == reading().snapshot


def test_the_ledger_is_summed_and_balances_and_the_oldest_event_is_the_oldest_of_all():
    merged = merge_readings([reading(1), reading(2)])
    assert merged.accepted == 30 == merged.published + merged.spooled + merged.quarantined + merged.discarded
    assert (merged.destroyed, merged.spool_bytes, merged.in_flight, merged.failed) == (3, 2700, 15, 18)
    assert (merged.out_of_order, merged.repeated, merged.breaches) == (21, 24, 27)
    assert merged.oldest_s == 3.0
    assert merged.by_camera == {"cam-1": 4, "cam-2": 8}
    assert (merged.trouble, merged.away) == ("", ())
    assert merge_readings([reading(), reading(refusal="too old")]).refusal == "too old"


def test_quantiles_are_those_of_all_latencies_and_not_a_mean_of_quantiles():
    calm, slow = tuple([10.0] * 90), tuple([500.0] * 10)
    merged = merge_readings([reading(latencies=calm), reading(latencies=slow), reading()])
    assert merged.latency == Quantiles(100, 10.0, 500.0, 500.0)
    assert merge_readings([reading(), reading()]).latency is None


def test_a_shard_that_is_away_is_reported_and_the_others_are_counted():
    merged = merge_readings([reading(), DeliveryUnavailable("it is being started"), reading()])
    assert merged.accepted == 20
    assert merged.away == (2,)
    assert merged.trouble == "publisher 2 of 3: it is being started"


def test_where_no_shard_answers_there_is_no_reading():
    with pytest.raises(DeliveryUnavailable, match="first"):
        merge_readings([DeliveryUnavailable("first"), DeliveryUnavailable("second")])


def test_what_ails_all_shards_is_reported_once_and_what_ails_one_with_its_number():
    assert merge_readings([reading(trouble="Kafka is away")] * 2).trouble == "Kafka is away"
    assert merge_readings([reading(), reading(broker_warning="a dead address")]).broker_warning == "a dead address"
    merged = merge_readings([reading(trouble="a full disk"), reading(), DeliveryUnavailable("gone")])
    assert merged.trouble == "publisher 1 of 3: a full disk; publisher 3 of 3: gone"


def test_the_ledgers_of_other_topics_are_summed_and_a_trouble_of_one_shard_is_told():
    parts = [
        reading(channels={"objects": ChannelSnapshot(OutboxAccounts(accepted=3, published=3))}),
        reading(channels={"objects": ChannelSnapshot(OutboxAccounts(accepted=2, waiting=2, bytes=9), "away")}),
    ]
    assert merge_readings(parts).channels == {
        "objects": ChannelSnapshot(OutboxAccounts(accepted=5, published=3, waiting=2, bytes=9), "away")
    }


def test_the_evidence_of_all_shards_is_summed_and_a_trouble_that_several_have_is_told_once():
    first = EvidenceAccounts(evidence=3, stored=1, spooled=1, expired=1, bytes=70, oldest_at_ns=9, lost={"quota": 1})
    second = EvidenceAccounts(evidence=2, spooled=1, refused=1, bytes=30, oldest_at_ns=5, lost={"too_large": 1})
    merged = merge_readings(
        [
            reading(evidence=EvidenceSnapshot(first, 2.0, "the store is away")),
            reading(evidence=EvidenceSnapshot(second, 4.0, "the store is away")),
            reading(),
        ]
    ).evidence
    assert merged == EvidenceSnapshot(
        EvidenceAccounts(5, 1, 2, 1, 1, 100, 5, {"quota": 1, "too_large": 1}), 4.0, "the store is away"
    )
    assert merged.accounts.balanced
