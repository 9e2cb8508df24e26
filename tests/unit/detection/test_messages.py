"""The messages between the ingress and a detector replica."""

from __future__ import annotations

from app.detection.messages import DetectorJob, expired


def test_a_replica_drops_what_expired_in_its_own_queue():
    class Late:
        @staticmethod
        def monotonic() -> float:
            return 10.5

    assert expired(DetectorJob(b"", 0.4), 10.0, Late) is not None  # type: ignore[arg-type]
    assert expired(DetectorJob(b"", 0.6), 10.0, Late) is None  # type: ignore[arg-type]
