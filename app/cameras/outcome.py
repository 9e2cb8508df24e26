"""Outcome: what became of one sent frame (contract, section 5)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from app.cameras.ledger import DropReason
from app.rpc.sightline.inference.v1 import inference_pb2 as pb


class Fate(str, enum.Enum):
    """Where a frame ends in the ledger."""

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
    """What the service, or gRPC, said of it."""
    response: pb.DetectResponse | None = field(default=None, repr=False)
    """The answer to an accepted frame."""

    @classmethod
    def accepted(cls, response: pb.DetectResponse) -> Outcome:
        """The service answered ``OK``."""
        return cls(Fate.ACCEPTED, response=response)

    @classmethod
    def dropped(cls, reason: DropReason, detail: str = "") -> Outcome:
        """The frame becomes no event."""
        return cls(Fate.DROPPED, reason, detail)

    @classmethod
    def unconfirmed(cls, detail: str = "") -> Outcome:
        """The frame was sent, and whether it became an event is not known."""
        return cls(Fate.UNCONFIRMED, detail=detail)
