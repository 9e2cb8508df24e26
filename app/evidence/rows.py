"""The evidence spool's rows, in the database of the publisher's spool: plain SQL within the caller's transaction.

``evidence = stored + spooled + expired + refused`` holds in any state of the file, as each function changes rows and
counts together, and the caller commits both at once.
"""

from __future__ import annotations

import enum
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.evidence.item import EvidenceItem, Kind

EVIDENCE_TABLES = """
    CREATE TABLE evidence (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, camera_id TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('snapshot', 'clip')),
        state TEXT NOT NULL CHECK (state IN ('recording', 'spooled', 'stored', 'expired', 'refused')),
        bytes INTEGER NOT NULL, at_ns INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '');
    CREATE INDEX evidence_in_state ON evidence (state, kind, id);
    CREATE TABLE evidence_of (
        anomaly_id TEXT NOT NULL, kind TEXT NOT NULL, camera_id TEXT NOT NULL, key TEXT NOT NULL,
        PRIMARY KEY (anomaly_id, kind)) WITHOUT ROWID;
    CREATE INDEX evidence_of_key ON evidence_of (key);
    CREATE TABLE evidence_account (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO evidence_account VALUES ('evidence', 0), ('stored', 0), ('expired', 0), ('refused', 0);
"""
EVIDENCE_INDEX = """
    CREATE INDEX evidence_here ON evidence (kind, id, bytes, at_ns) WHERE state IN ('recording', 'spooled');
"""
"""The step of the schema after the tables: tens of thousands of pictures that wait cost a millisecond to add up."""
EVIDENCE_COLUMNS = "key, camera_id, kind, state, bytes, at_ns, reason"
"""All but the id."""
_ROW = "key, kind, state, bytes, at_ns, reason"


class State(enum.StrEnum):
    """Where a piece of evidence is."""

    RECORDING = "recording"
    """A clip whose pictures are being gathered; it counts as spooled."""
    SPOOLED = "spooled"
    """Its bytes are here, and wait for the store; without a store they stay."""
    STORED = "stored"
    """The store has it."""
    EXPIRED = "expired"
    """It was given up before it was stored: for room, or because its bytes are gone."""
    REFUSED = "refused"
    """It could not be made, or not be kept."""

    def __str__(self) -> str:
        return self.value


class Loss(enum.StrEnum):
    """Why a piece of evidence expired or was refused, as the ledger counts it and the metrics label it."""

    QUOTA = "quota"
    """Given up for room before the store had it."""
    AGED = "aged"
    """Given up for room where there is no store: it stayed for as long as there was room."""
    GONE = "gone"
    """Its file is not there any more."""
    NO_PICTURE = "no_picture"
    """The frame came without its picture."""
    UNREADABLE = "unreadable"
    """The picture cannot be decoded, so not be anonymised either."""
    TOO_LARGE = "too_large"
    """It is larger than all the room there may be."""
    UNWRITABLE = "unwritable"
    """The spool's disk does not take it."""
    NO_FILM = "no_film"
    """No film can be made of the clip's pictures."""
    STORE = "store"
    """The store takes no such object, ever."""

    def __str__(self) -> str:
        return self.value


HERE = (State.RECORDING, State.SPOOLED)
"""The states of what counts as spooled."""


@dataclass(frozen=True)
class EvidenceRow:
    """One piece of evidence."""

    key: str
    kind: Kind
    state: State
    bytes: int
    """In the spool; 0 once they are not there any more."""
    at_ns: int
    """When it was taken in, nanoseconds since 1970 UTC."""
    reason: str
    """Why it expired or was refused; else empty."""

    @property
    def lost(self) -> bool:
        """Whether its address leads to nothing."""
        return self.state in (State.EXPIRED, State.REFUSED)


@dataclass(frozen=True)
class EvidenceAccounts:
    """One reading of the ledger; ``evidence = stored + spooled + expired + refused``."""

    evidence: int = 0
    stored: int = 0
    spooled: int = 0
    expired: int = 0
    refused: int = 0
    bytes: int = 0
    """Of what is spooled."""
    oldest_at_ns: int | None = None
    """When the oldest of that was taken in."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """What expired or was refused, by its :class:`Loss`; after a damage of the file the reasons count from 0."""

    @property
    def balanced(self) -> bool:
        """Whether every piece of evidence is in exactly one place."""
        return self.evidence == self.stored + self.spooled + self.expired + self.refused

    def __add__(self, other: EvidenceAccounts) -> EvidenceAccounts:
        """Return the ledger of two shards together."""
        oldest = [at_ns for at_ns in (self.oldest_at_ns, other.oldest_at_ns) if at_ns is not None]
        return EvidenceAccounts(
            evidence=self.evidence + other.evidence,
            stored=self.stored + other.stored,
            spooled=self.spooled + other.spooled,
            expired=self.expired + other.expired,
            refused=self.refused + other.refused,
            bytes=self.bytes + other.bytes,
            oldest_at_ns=min(oldest, default=None),
            lost=Counter(self.lost) + Counter(other.lost),
        )


def add(database: sqlite3.Connection, item: EvidenceItem, state: State, size: int, at_ns: int) -> bool:
    """Take a piece of evidence in; return whether it is new: an incident may be committed again after a crash."""
    return _add(database, item, state, size, at_ns, "")


def refuse(database: sqlite3.Connection, item: EvidenceItem, at_ns: int, loss: Loss, reason: str) -> None:
    """Note that a piece of evidence could not be taken in, and why."""
    if _add(database, item, State.REFUSED, 0, at_ns, reason):
        _count(database, loss.value)


def _add(database: sqlite3.Connection, item: EvidenceItem, state: State, size: int, at_ns: int, reason: str) -> bool:
    taken = database.execute(
        "INSERT OR IGNORE INTO evidence (key, camera_id, kind, state, bytes, at_ns, reason) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (item.key, item.camera_id, item.kind.value, state.value, size, at_ns, reason),
    ).rowcount
    if taken:
        _count(database, "evidence")
        if state not in HERE:
            _count(database, state.value)
    link(database, item, item.key)
    return bool(taken)


def link(database: sqlite3.Connection, item: EvidenceItem, key: str) -> None:
    """Record which piece of evidence an incident has: of clips that overlap it is the first one's."""
    database.execute(
        "INSERT OR REPLACE INTO evidence_of (anomaly_id, kind, camera_id, key) VALUES (?, ?, ?, ?)",
        (item.anomaly_id, item.kind.value, item.camera_id, key),
    )


def store(database: sqlite3.Connection, key: str) -> None:
    """Note that the store has a piece of evidence."""
    if _settle(database, key, State.STORED, ""):
        _count(database, State.STORED.value)


def lose(database: sqlite3.Connection, key: str, state: State, loss: Loss, reason: str) -> None:
    """Note that a piece of evidence expired or was refused, and why."""
    if _settle(database, key, state, reason):
        _count(database, state.value)
        _count(database, loss.value)


def _settle(database: sqlite3.Connection, key: str, state: State, reason: str) -> bool:
    """Move a piece of evidence from the spool to its final place; one that is there already stays."""
    moved = database.execute(
        "UPDATE evidence SET state = ?, bytes = 0, reason = ? WHERE key = ? AND state IN ('recording', 'spooled')",
        (state.value, reason, key),
    ).rowcount
    return bool(moved)


def end_recording(database: sqlite3.Connection, key: str, size: int) -> None:
    """Record that a clip is complete, and how large; one that was given up meanwhile stays so."""
    database.execute(
        "UPDATE evidence SET state = 'spooled', bytes = ? WHERE key = ? AND state = 'recording'", (size, key)
    )


def resize(database: sqlite3.Connection, key: str, size: int) -> None:
    """Record how large the pictures of a clip are by now."""
    database.execute("UPDATE evidence SET bytes = ? WHERE key = ? AND state = 'recording'", (size, key))


def in_state(database: sqlite3.Connection, state: State, limit: int = -1) -> list[EvidenceRow]:
    """Return what is in a state, snapshots before clips, each the oldest first; a negative limit is none."""
    found: list[EvidenceRow] = []
    for kind in (Kind.SNAPSHOT, Kind.CLIP):  # each by the index, which is in no order of both
        rows = database.execute(
            f"SELECT {_ROW} FROM evidence WHERE state = ? AND kind = ? ORDER BY id LIMIT ?",  # noqa: S608
            (state.value, kind.value, limit - len(found) if limit >= 0 else -1),
        )
        found += map(_row, rows)
    return found


def first_to_go(database: sqlite3.Connection) -> EvidenceRow | None:
    """Return what is to be given up first: the oldest clip, else the oldest snapshot."""
    for kind in (Kind.CLIP, Kind.SNAPSHOT):
        row = database.execute(
            f"SELECT {_ROW} FROM evidence WHERE state IN ('recording', 'spooled') AND kind = ? "  # noqa: S608
            "ORDER BY id LIMIT 1",
            (kind.value,),
        ).fetchone()
        if row is not None:
            return _row(row)
    return None


def find(database: sqlite3.Connection, anomaly_id: str, kind: Kind) -> EvidenceRow | None:
    """Return the evidence of an incident; ``None`` where it has none of the kind."""
    row = database.execute(
        f"SELECT {_ROW} FROM evidence WHERE key = "  # noqa: S608
        "(SELECT key FROM evidence_of WHERE anomaly_id = ? AND kind = ?)",
        (anomaly_id, kind.value),
    ).fetchone()
    return _row(row) if row else None


def of_incidents(database: sqlite3.Connection, anomaly_ids: Sequence[str]) -> dict[tuple[str, Kind], EvidenceRow]:
    """Return the evidence of incidents, by incident and kind; what an incident has none of is left out."""
    rows = database.execute(
        "SELECT anomaly_id, evidence_of.kind, evidence.key, evidence.kind, state, bytes, at_ns, reason "
        "FROM evidence_of JOIN evidence ON evidence.key = evidence_of.key "
        "WHERE anomaly_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(anomaly_ids)),),
    )
    return {(anomaly_id, Kind(kind)): _row(row) for anomaly_id, kind, *row in rows}


def owned(database: sqlite3.Connection, keys: Sequence[str]) -> set[str]:
    """Return which of some keys have bytes that belong here."""
    return {
        key
        for key in keys
        if database.execute(
            "SELECT 1 FROM evidence WHERE key = ? AND state IN ('recording', 'spooled')", (key,)
        ).fetchone()
    }


def spooled_bytes(database: sqlite3.Connection) -> int:
    """Return how many bytes are spooled."""
    row = database.execute("SELECT SUM(bytes) FROM evidence WHERE state IN ('recording', 'spooled')").fetchone()
    return int(row[0] or 0)


def forget(database: sqlite3.Connection, before_ns: int) -> None:
    """Forget where the evidence of old incidents is; the counts stay."""
    database.execute("DELETE FROM evidence WHERE at_ns < ? AND state NOT IN ('recording', 'spooled')", (before_ns,))
    database.execute("DELETE FROM evidence_of WHERE key NOT IN (SELECT key FROM evidence)")


def accounts(database: sqlite3.Connection) -> EvidenceAccounts:
    """Return the ledger."""
    counts = dict(database.execute("SELECT name, count FROM evidence_account").fetchall())
    spooled, size, oldest = database.execute(
        "SELECT COUNT(*), COALESCE(SUM(bytes), 0), MIN(at_ns) FROM evidence WHERE state IN ('recording', 'spooled')"
    ).fetchone()
    lost = {name: counts.pop(name) for name in [loss.value for loss in Loss] if name in counts}
    return EvidenceAccounts(**counts, spooled=spooled, bytes=size, oldest_at_ns=oldest, lost=lost)


def recount(database: sqlite3.Connection) -> None:
    """Set the ledger to what there is: the counts of before were destroyed with their file."""
    for state in ("stored", "expired", "refused"):
        database.execute(
            "UPDATE evidence_account SET count = (SELECT COUNT(*) FROM evidence WHERE state = ?) WHERE name = ?",
            (state, state),
        )
    database.execute("UPDATE evidence_account SET count = (SELECT COUNT(*) FROM evidence) WHERE name = 'evidence'")
    database.executemany("DELETE FROM evidence_account WHERE name = ?", [(loss.value,) for loss in Loss])


def move_counts(old: Sequence[sqlite3.Connection], fresh: Sequence[sqlite3.Connection]) -> None:
    """Move the past counts of the old files into the first of the new ones; what is spooled counts where it lies.

    The rows are there already.
    """
    past = [accounts(database) for database in old]
    lost = sum((Counter(one.lost) for one in past), Counter[str]())
    for number, database in enumerate(fresh):
        here = accounts(database).spooled
        if number == 0:
            settled = {name: sum(getattr(one, name) for one in past) for name in ("stored", "expired", "refused")}
        else:
            settled = dict.fromkeys(("stored", "expired", "refused"), 0)
        counts = {**settled, "evidence": here + sum(settled.values()), **(lost if number == 0 else {})}
        database.executemany("INSERT OR REPLACE INTO evidence_account (name, count) VALUES (?, ?)", counts.items())


def _count(database: sqlite3.Connection, name: str) -> None:
    database.execute(
        "INSERT INTO evidence_account VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET count = count + 1", (name,)
    )


def _row(row: Sequence[Any]) -> EvidenceRow:
    key, kind, state, size, at_ns, reason = row
    return EvidenceRow(key, Kind(kind), State(state), size, at_ns, reason)
