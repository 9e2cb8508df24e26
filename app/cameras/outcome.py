"""Outcome: what became of one frame that was taken to be sent (``proto/README.md``, "Ledgers")."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from app.cameras.ledger import DropReason
from app.rpc.sightline.inference.v1 import inference_pb2 as pb


class Fate(enum.StrEnum):
    """How a sent frame is counted in the ledger."""

    ACCEPTED = "accepted"
    DROPPED = "dropped"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True)
class Outcome:
    """What became of one frame."""

    fate: Fate
    reason: DropReason | None = None
    """Why it was dropped; ``None`` for the other fates."""
    detail: str = ""
    """The reason in words, of the service or of gRPC."""
    response: pb.DetectResponse | None = field(default=None, repr=False)
    """The answer to an accepted frame."""
    committed_epoch: int | None = None
    """The newer epoch of the camera that the service has committed, where it refused the frame for that."""
    max_fps: float | None = None
    """How often the service asks the camera to send at most, frames per second; ``None``: it does not say."""

    @classmethod
    def accepted(cls, response: pb.DetectResponse) -> Outcome:
        """Return the outcome of a frame that the service answered ``OK``."""
        told = response.max_fps if response.HasField("max_fps") else 0.0
        return cls(Fate.ACCEPTED, response=response, max_fps=told if told > 0 else None)

    @classmethod
    def dropped(
        cls, reason: DropReason, detail: str = "", committed_epoch: int | None = None, max_fps: float | None = None
    ) -> Outcome:
        """Return the outcome of a frame that becomes no event."""
        return cls(Fate.DROPPED, reason, detail, committed_epoch=committed_epoch, max_fps=max_fps)

    @classmethod
    def unconfirmed(cls, detail: str = "") -> Outcome:
        """Return the outcome of a frame that was sent, and may or may not have become an event."""
        return cls(Fate.UNCONFIRMED, detail=detail)
