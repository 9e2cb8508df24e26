"""AnomalyModel: an incident, and counts of a rule, as the HTTP API returns them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.publisher import RuleCount
from app.settings.rules import Severity
from app.web.figures import Model


class PieceModel(Model):
    """The picture or the clip of an incident, at ``/image`` or ``/clip`` below the incident's own path."""

    state: Annotated[
        Literal["recording", "spooled", "stored", "expired", "refused"],
        Field(description="spooled: here; stored: the store has it; expired: given up for room; refused: not made."),
    ]
    reason: Annotated[str, Field(description="Why it expired or was refused; else empty.")]


class AnomalyModel(Model):
    """One incident as it was published last; the names are those of the topic of anomalies."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="allow")

    anomaly_id: str
    camera_id: str
    rule: str
    type: str
    severity: Severity
    state: Annotated[
        str, Field(description="What was published last of it: new, update, end, or instant: it has no duration.")
    ]
    started_at: Annotated[datetime, Field(description="UTC; capture time.")]
    ended_at: Annotated[datetime | None, Field(description="UTC; null: it goes on.")]
    reason: Annotated[str | None, Field(description="Why it ended, where not because its condition ended.")]
    track_ids: tuple[int, ...]
    classes: tuple[str, ...]
    zone: str | None
    line: str | None
    direction: str | None
    value: Annotated[float | None, Field(description="What the type of rule measures.")]
    image_url: Annotated[
        str | None, Field(description="Where the store has its picture, or will; null: none, or there is no store.")
    ] = None
    clip_url: Annotated[str | None, Field(description="Likewise of its clip.")] = None
    image: Annotated[PieceModel | None, Field(description="How its picture is by now; null: there is none.")] = None
    clip: Annotated[PieceModel | None, Field(description="Likewise of its clip.")] = None


class CountModel(Model):
    """How often a rule found something, in one step of time."""

    since: Annotated[datetime, Field(alias="from", description="UTC; when the step begins.")]
    camera_id: str
    direction: Annotated[str, Field(description="Of line crossings; empty: the rule has none.")]
    label: Annotated[str, Field(description="Class; empty: several, or none.")]
    count: Annotated[int, Field(description="Incidents that began; of a line: crossings.")]

    @classmethod
    def of(cls, count: RuleCount) -> CountModel:
        """Convert a count."""
        return cls(
            since=datetime.fromtimestamp(count.from_ms / 1000, UTC),
            camera_id=count.camera_id,
            direction=count.direction,
            label=count.label,
            count=count.count,
        )


class CountsModel(Model):
    """How often a rule found something, by steps of time; steps without anything are left out."""

    rule: str
    since: Annotated[datetime, Field(alias="from", description="UTC.")]
    until: Annotated[datetime, Field(alias="to", description="UTC.")]
    step: Annotated[int, Field(description="Seconds.")]
    counts: tuple[CountModel, ...]
