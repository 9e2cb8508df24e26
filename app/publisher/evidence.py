"""IncidentEvidence: the evidence of incidents, begun in the transaction that commits their event."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.analysis.rules.anomaly import Anomaly
from app.evidence.folder import EvidenceFolder
from app.evidence.item import Kind
from app.evidence.keeper import EvidenceKeeper, Incident, KeeperOptions
from app.evidence.pictures import JudgedPicture
from app.evidence.rows import EvidenceRow
from app.publisher.shards import Shard, shard_of
from app.publisher.spool.analysis import JudgedFrame
from app.settings.evidence import EvidenceSettings, StoreUrl

if TYPE_CHECKING:
    from app.evidence.store import ObjectStore


@dataclass(frozen=True)
class Addresses:
    """Where the evidence of an incident is, as its records have it."""

    image_url: str | None = None
    """``None``: there is no picture, or no store for it."""
    clip_url: str | None = None
    lost: bool = False
    """Whether some of it was given up, or could not be made."""


class EvidenceSource(Protocol):
    """Gives incidents their evidence; used within a transaction of the spool."""

    def addresses(self, anomaly: Anomaly, wanted: Sequence[str]) -> Addresses:
        """Return where the evidence of an incident is; begin it where the incident begins.

        Args:
            anomaly: a transition of the incident.
            wanted: the kinds of evidence that its rule asks for.
        """


class WithoutEvidence:
    """Gives none."""

    def addresses(self, anomaly: Anomaly, wanted: Sequence[str]) -> Addresses:
        """Return that there is none."""
        return Addresses()


class IncidentEvidence:
    """What spool and analysis use of the keeper; see ``SpoolEvidence`` and ``EvidenceSource``."""

    def __init__(self, keeper: EvidenceKeeper, url: StoreUrl | None) -> None:
        """Wire it; without a store's address incidents have none, and their evidence is served by HTTP."""
        self._keeper = keeper
        self._url = url
        self._database: sqlite3.Connection | None = None
        self._picture: JudgedPicture | None = None
        self._at_ns = 0

    # The spool's side.

    def recover(self, database: sqlite3.Connection, now_ns: int) -> None:
        """Bring files and rows together."""
        self._keeper.recover(database, now_ns)

    def enter(self, database: sqlite3.Connection, frame: JudgedFrame | None, at_ns: int) -> None:
        """Keep a frame's picture, where it came with one."""
        self._database, self._at_ns, self._picture = database, at_ns, None
        if frame is not None and frame.picture is not None:
            event = frame.event
            self._picture = JudgedPicture(
                event.camera_id, event.captured_at_ns, event.width, event.height, event.objects, frame.picture
            )
            self._keeper.see(self._picture)

    def committed(self) -> None:
        """Do what waited for the commit."""
        self._keeper.committed()

    def rolled_back(self) -> None:
        """Undo what the transaction wrote."""
        self._keeper.rolled_back()

    def tend(self, database: sqlite3.Connection, now_ns: int) -> None:
        """Take in films, and keep to the quota."""
        self._keeper.tend(database, now_ns)

    def close(self) -> None:
        """End the threads."""
        self._keeper.close()

    # The analysis' side.

    def addresses(self, anomaly: Anomaly, wanted: Sequence[str]) -> Addresses:
        """Return where the evidence of an incident is; begin it where the incident begins."""
        database = self._database
        assert database is not None, "the spool enters before the analysis"
        if anomaly.state in ("new", "instant"):
            self._begin(database, anomaly, [Kind(one) for one in wanted])
        found = {kind: self._keeper.find(database, anomaly.anomaly_id, kind) for kind in Kind}
        return Addresses(
            image_url=self._link(found[Kind.SNAPSHOT]),
            clip_url=self._link(found[Kind.CLIP]),
            lost=any(row is not None and row.lost for row in found.values()),
        )

    def _begin(self, database: sqlite3.Connection, anomaly: Anomaly, kinds: Collection[Kind]) -> None:
        if not kinds:
            return
        incident = Incident(anomaly.anomaly_id, anomaly.camera_id, anomaly.started_ms * 1_000_000, tuple(kinds))
        self._keeper.begin(database, incident, self._picture, self._at_ns)

    def _link(self, row: EvidenceRow | None) -> str | None:
        return None if row is None or row.lost or self._url is None else self._url.link(row.key)


FOLDER = "evidence"
"""Name of the folder of all shards, in the folder of their spools."""


@dataclass(frozen=True)
class EvidenceParts:
    """What a publisher's evidence consists of."""

    folder: EvidenceFolder
    keeper: EvidenceKeeper
    incidents: IncidentEvidence
    store: ObjectStore | None


def make_evidence(settings: EvidenceSettings, anonymise: Sequence[str], spools: Path, shard: Shard) -> EvidenceParts:
    """Make the parts; nothing is opened yet.

    Args:
        settings: of all shards together; each may hold its equal part.
        anonymise: labels that are hidden in what is stored.
        spools: the folder of the spools.
        shard: which of them.
    """
    from app.evidence.store import ObjectStore  # here: who only asks for evidence has no store

    folder = EvidenceFolder(spools / FOLDER)
    options = KeeperOptions(
        before_s=settings.before,
        after_s=settings.after,
        max_s=settings.max,
        max_bytes=settings.max_bytes // shard.count,
        boxes=settings.boxes,
        anonymise=tuple(anonymise),
        uploads=settings.url is not None,
    )
    keeper = EvidenceKeeper(
        folder, options, owns=lambda camera_id: shard_of(camera_id, shard.count) == shard.number - 1
    )
    store = ObjectStore(settings) if settings.url is not None else None
    return EvidenceParts(folder, keeper, IncidentEvidence(keeper, settings.url), store)
