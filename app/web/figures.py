"""Measurements in the answers of the HTTP API: quantiles, latency by stage, and the ledger of frames."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.cameras import DroppedLately, FrameLatency
from app.cameras.ledger import LedgerSnapshot
from app.core.quantiles import Quantiles, quantiles
from app.core.stage import ANSWER_STAGES


class Model(BaseModel):
    """An answer; new fields may be added, none is renamed, retyped or removed."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class QuantilesModel(Model):
    """Milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, spread: Quantiles | None) -> QuantilesModel | None:
        """Convert quantiles; ``None`` where there are none."""
        if spread is None:
            return None
        return cls(p50=milliseconds(spread.p50), p95=milliseconds(spread.p95), p99=milliseconds(spread.p99))


class LatencyModel(Model):
    """Quantiles of the last accepted frames: from capture until the event was durable, and each stage."""

    frames: Annotated[int, Field(description="How many frames they are of.")]
    total: QuantilesModel | None
    stages: Annotated[
        dict[str, QuantilesModel],
        Field(description="In the order of a frame's way: encode, transport, queue, decode, inference, commit."),
    ]

    @classmethod
    def of(cls, latencies: tuple[FrameLatency, ...]) -> LatencyModel:
        """Compute the quantiles of each stage."""
        stages = {}
        for stage in ANSWER_STAGES:
            spread = QuantilesModel.of(quantiles([getattr(one, stage) for one in latencies]))
            if spread is not None:
                stages[stage] = spread
        total = QuantilesModel.of(quantiles([one.total for one in latencies]))
        return cls(frames=len(latencies), total=total, stages=stages)


class LedgerModel(Model):
    """What became of the camera's frames; ``sampled = accepted + dropped + unconfirmed + in_flight``."""

    sampled: int
    accepted: int
    unconfirmed: int
    in_flight: int
    dropped: dict[str, int]

    @classmethod
    def of(cls, ledger: LedgerSnapshot) -> LedgerModel:
        """Convert a ledger."""
        return cls(
            sampled=ledger.sampled,
            accepted=ledger.accepted,
            unconfirmed=ledger.unconfirmed,
            in_flight=ledger.in_flight,
            dropped={reason.value: count for reason, count in ledger.dropped.items()},
        )


class DroppedLatelyModel(Model):
    """Why frames became no events in the last ten seconds."""

    by_reason: Annotated[dict[str, int], Field(description="The reasons of the ledger; those that are 0 are left out.")]
    held_back: Annotated[
        int, Field(description="How many of the superseded ones were not sent because the service was busy.")
    ]

    @classmethod
    def of(cls, dropped: DroppedLately) -> DroppedLatelyModel:
        """Convert the recent drops."""
        by_reason = {reason.value: count for reason, count in dropped.by_reason.items()}
        return cls(by_reason=by_reason, held_back=dropped.held_back)


def milliseconds(value: float) -> float:
    """Round milliseconds to two decimals."""
    return round(value, 2)
