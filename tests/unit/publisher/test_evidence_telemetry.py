"""The metrics of evidence follow its ledger, which is older than the process that shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from app.evidence.rows import EvidenceAccounts, Loss
from app.publisher.evidence_telemetry import EvidenceTelemetry
from app.telemetry.metrics import Metric


class RecordingMeter:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, ...]] = Counter()
        self.gauges: dict[tuple[str, ...], float] = {}

    def begin(self, counter: Metric, *labels: str) -> None:
        self.counted[counter.name, *labels] += 0

    def add(self, counter: Metric, *labels: str, count: int = 1) -> None:
        assert len(labels) == len(counter.labels)
        self.counted[counter.name, *labels] += 1

    def set(self, gauge: Metric, value: float, *labels: str) -> None:
        assert len(labels) == len(gauge.labels)
        self.gauges[gauge.name, *labels] = value

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        raise AssertionError(histogram.name)


def test_counters_begin_at_zero_with_every_reason_and_count_what_comes_after():
    meter = RecordingMeter()
    telemetry = EvidenceTelemetry(meter)
    first = EvidenceAccounts(evidence=9, stored=5, spooled=2, expired=1, refused=1, lost={"quota": 1, "no_picture": 1})
    telemetry.evidence(first, 0.0, failing=False)
    assert set(meter.counted) == {
        ("sightline_evidence_asked",),
        ("sightline_evidence_stored",),
        *(("sightline_evidence_lost", loss.value) for loss in Loss),
    }
    assert meter.counted.total() == 0
    telemetry.evidence(replace(first, evidence=12, stored=6, expired=3, lost={"quota": 3, "no_picture": 1}), 0, True)
    assert +meter.counted == {
        ("sightline_evidence_asked",): 3,
        ("sightline_evidence_stored",): 1,
        ("sightline_evidence_lost", "quota"): 2,
    }


def test_gauges_have_the_shard_where_there_are_several():
    meter = RecordingMeter()
    accounts = EvidenceAccounts(evidence=2, spooled=2, bytes=800)
    EvidenceTelemetry(meter).evidence(accounts, 3.5, failing=True)
    EvidenceTelemetry(meter, shard=2).evidence(accounts, 3.5, failing=False)
    assert meter.gauges == {
        ("sightline_evidence_spooled",): 2,
        ("sightline_evidence_spooled_bytes",): 800,
        ("sightline_evidence_oldest_age_seconds",): 3.5,
        ("sightline_evidence_failing",): 1.0,
        ("sightline_evidence_spooled", "2"): 2,
        ("sightline_evidence_spooled_bytes", "2"): 800,
        ("sightline_evidence_oldest_age_seconds", "2"): 3.5,
        ("sightline_evidence_failing", "2"): 0.0,
    }
