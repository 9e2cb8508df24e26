"""EvidenceTelemetry: the metrics of the evidence of incidents."""

from __future__ import annotations

from dataclasses import replace

from app.evidence.rows import EvidenceAccounts, Loss
from app.telemetry.metrics import (
    EVIDENCE_AGE,
    EVIDENCE_ASKED,
    EVIDENCE_BYTES,
    EVIDENCE_FAILING,
    EVIDENCE_LOST,
    EVIDENCE_SPOOLED,
    EVIDENCE_STORED,
    Meter,
    Metric,
)


class EvidenceTelemetry:
    """Feeds the metrics from readings of the ledger, which counts for the life of the spool; these count from now."""

    def __init__(self, meter: Meter, shard: int | None = None) -> None:
        """Wire it.

        Args:
            meter: keeps the numbers.
            shard: the publisher's number, where there are several: then the gauges have it as their label.
        """
        self._meter = meter
        self._shard = () if shard is None else (str(shard),)
        labels = ("shard",) * len(self._shard)
        self._gauges = tuple(
            replace(gauge, labels=labels)
            for gauge in (EVIDENCE_SPOOLED, EVIDENCE_BYTES, EVIDENCE_AGE, EVIDENCE_FAILING)
        )
        self._before: EvidenceAccounts | None = None

    def evidence(self, now: EvidenceAccounts, oldest_s: float, failing: bool) -> None:
        """Count what has changed since the reading before; set the gauges.

        Args:
            now: the ledger.
            oldest_s: age of the oldest piece that is spooled, in seconds.
            failing: whether the store took nothing at the last try.
        """
        for gauge, value in zip(self._gauges, (now.spooled, now.bytes, oldest_s, float(failing)), strict=True):
            self._meter.set(gauge, value, *self._shard)
        counts = _counters(now)
        if self._before is None:
            for counter, labels in counts:
                self._meter.begin(counter, *labels)
        else:
            before = _counters(self._before)
            for (counter, labels), count in counts.items():
                for _ in range(count - before[counter, labels]):
                    self._meter.add(counter, *labels)
        self._before = now


def _counters(accounts: EvidenceAccounts) -> dict[tuple[Metric, tuple[str, ...]], int]:
    """Return the number of each counter, by the counter and its labels."""
    counts: dict[tuple[Metric, tuple[str, ...]], int] = {
        (EVIDENCE_ASKED, ()): accounts.evidence,
        (EVIDENCE_STORED, ()): accounts.stored,
    }
    for loss in Loss:
        counts[EVIDENCE_LOST, (loss.value,)] = accounts.lost.get(loss.value, 0)
    return counts
