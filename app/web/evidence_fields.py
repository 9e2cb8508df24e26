"""EvidenceModel: the ledger of the evidence of incidents, as the HTTP API shows it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.publisher import EvidenceSnapshot
from app.web.figures import Model


class EvidenceModel(Model):
    """Pictures and clips of incidents; ``asked = stored + spooled + expired + refused``."""

    asked: Annotated[int, Field(description="What rules asked for; clips that overlap are one.")]
    stored: Annotated[int, Field(description="What the store has.")]
    spooled: Annotated[int, Field(description="What is here: it waits for the store, or there is none.")]
    expired: Annotated[int, Field(description="Given up before it was stored: for room, or as its file was gone.")]
    refused: Annotated[int, Field(description="What could not be made, or not be kept.")]
    lost: Annotated[dict[str, int], Field(description="What expired or was refused, by its reason.")]
    bytes: Annotated[int, Field(description="Of what is spooled.")]
    oldest_s: Annotated[float, Field(description="Age of the oldest piece that is spooled, in seconds.")]
    trouble: Annotated[
        str, Field(description="Why it is not stored, or was lost in the last ten minutes; empty: neither.")
    ]

    @classmethod
    def of(cls, evidence: EvidenceSnapshot) -> EvidenceModel:
        """Convert a reading."""
        counts = evidence.accounts
        return cls(
            asked=counts.evidence,
            stored=counts.stored,
            spooled=counts.spooled,
            expired=counts.expired,
            refused=counts.refused,
            lost=dict(counts.lost),
            bytes=counts.bytes,
            oldest_s=round(evidence.oldest_s, 1),
            trouble=evidence.trouble,
        )
