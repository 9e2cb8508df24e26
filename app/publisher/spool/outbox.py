"""Outbox: records of the other topics, written in the transaction of the frame that they are of.

They wait, are acknowledged, and are set aside like events, and have a ledger of their own, for each channel:
``accepted = published + waiting + quarantined + discarded``. A frame's ledger knows nothing of them.

A channel whose topic does not take its records holds back itself alone: it may keep an eighth of ``spool.max_bytes``,
beside the events; beyond that it loses its oldest records, which are counted as discarded. Where all of Kafka is away
the events are more by far, and no frame is accepted any more before that comes to pass.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from app.core.channel import Channel
from app.publisher.spool.codec import digest
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

SHARE = 8
"""A channel may keep this part of ``spool.max_bytes``."""
ROW_BYTES = 300
"""What a row costs beside its body."""
_GIVEN_UP_AT_ONCE = 100
"""Records that a full channel loses together."""

OUTBOX_TABLES = """
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, record_id TEXT NOT NULL, camera_id TEXT NOT NULL,
        time_ms INTEGER NOT NULL, stored_at_ns INTEGER NOT NULL, body BLOB NOT NULL, digest INTEGER NOT NULL,
        reason TEXT, wish TEXT NOT NULL DEFAULT '');
    CREATE INDEX outbox_waiting ON outbox (channel, camera_id, id) WHERE reason IS NULL;
    CREATE INDEX outbox_set_aside ON outbox (id) WHERE reason IS NOT NULL;
    CREATE TABLE outbox_account (
        channel TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (channel, name)) WITHOUT ROWID;
    """
OUTBOX_COLUMNS = "channel, record_id, camera_id, time_ms, stored_at_ns, body, digest, reason, wish"
"""All but the id."""
ADD_TO_ACCOUNT = (
    "INSERT INTO outbox_account VALUES (?, ?, ?) "
    "ON CONFLICT (channel, name) DO UPDATE SET count = count + excluded.count"
)
_WRITTEN = ("accepted", "published", "discarded")
"""Numbers of the ledger that no count of rows gives."""


@dataclass(frozen=True)
class OutboxRecord:
    """A record for another topic, to be committed with the frame that it is of."""

    channel: Channel
    record_id: str
    """Its ``ce_id``."""
    camera_id: str
    time_ms: int
    """Capture time of the frame in milliseconds since 1970 UTC."""
    body: bytes
    """As it is published: JSON."""


@dataclass(frozen=True)
class WaitingRecord:
    """A record that waits for its topic."""

    id: int
    """Rising in the order of commit."""
    stored_at_ns: int
    record: OutboxRecord


@dataclass(frozen=True)
class OutboxAccounts:
    """One reading of the numbers of a channel; ``accepted = published + waiting + quarantined + discarded``."""

    accepted: int = 0
    published: int = 0
    waiting: int = 0
    quarantined: int = 0
    discarded: int = 0
    """Given up, as too many waited; or dropped from quarantine; or destroyed on disk."""
    bytes: int = 0
    """Of what waits."""

    @property
    def balanced(self) -> bool:
        """Whether every record is in exactly one place."""
        return self.accepted == self.published + self.waiting + self.quarantined + self.discarded

    def __add__(self, other: OutboxAccounts) -> OutboxAccounts:
        """Return the sum of two shards' numbers."""
        return OutboxAccounts(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


class Outbox:
    """The table and its numbers; used from the spool's thread, within its transactions."""

    def __init__(self, max_bytes: int) -> None:
        """Set a limit; ``max_bytes`` is that of the whole spool."""
        self._limit = max_bytes // SHARE
        self._totals: Counter[tuple[str, str]] = Counter()
        self._change: Counter[tuple[str, str]] = Counter()
        self._given_up = TroubleLog(
            logger, "records of a topic that takes none are given up", unit="times", level=logging.ERROR
        )

    def read(self, database: sqlite3.Connection) -> None:
        """Read the numbers of a file that was opened."""
        rows = database.execute("SELECT channel, name, count FROM outbox_account")
        self._totals = Counter({(channel, name): count for channel, name, count in rows})
        for channel, quarantined, count, size in database.execute(
            "SELECT channel, reason IS NOT NULL, COUNT(*), SUM(LENGTH(body)) FROM outbox GROUP BY 1, 2"
        ):
            self._totals[channel, "quarantined" if quarantined else "waiting"] = count
            if not quarantined:
                self._totals[channel, "bytes"] = size + count * ROW_BYTES

    def put(
        self, database: sqlite3.Connection, records: Iterable[OutboxRecord], at_ns: int
    ) -> tuple[WaitingRecord, ...]:
        """Have records wait after those of their camera and channel."""
        waiting = []
        for one in records:
            self._make_room(database, one)
            row = (one.channel, one.record_id, one.camera_id, one.time_ms, at_ns, one.body, digest(one.body), None, "")
            given = database.execute(f"INSERT INTO outbox ({OUTBOX_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
            self._count(one.channel, accepted=1, waiting=1, bytes=len(one.body) + ROW_BYTES)
            waiting.append(WaitingRecord(int(given.lastrowid or 0), at_ns, one))
        return tuple(waiting)

    def forget(self, database: sqlite3.Connection, row_id: int) -> None:
        """Delete a record that its topic has; one that was given up meanwhile is counted as that."""
        row = database.execute("DELETE FROM outbox WHERE id = ? RETURNING channel, LENGTH(body)", (row_id,)).fetchone()
        if row is not None:
            self._count(row[0], waiting=-1, published=1, bytes=-row[1] - ROW_BYTES)

    def set_aside(self, database: sqlite3.Connection, row_id: int, reason: str) -> None:
        """Move a record to quarantine."""
        row = database.execute(
            "UPDATE outbox SET reason = ? WHERE id = ? AND reason IS NULL RETURNING channel, LENGTH(body)",
            (reason, row_id),
        ).fetchone()
        if row is not None:
            self._count(row[0], waiting=-1, quarantined=1, bytes=-row[1] - ROW_BYTES)

    def tidy(self, database: sqlite3.Connection) -> list[tuple[Channel, str]]:
        """Act on requests to the quarantine; return channel and camera of what waits again, after what is newer."""
        for (channel,) in database.execute("DELETE FROM outbox WHERE wish = 'drop' RETURNING channel").fetchall():
            self._count(channel, quarantined=-1, discarded=1)
        again: dict[tuple[Channel, str], None] = {}
        for row_id, channel, camera_id, size in database.execute(
            "SELECT id, channel, camera_id, LENGTH(body) FROM outbox WHERE wish = 'resend' ORDER BY id"
        ).fetchall():
            database.execute(
                f"INSERT INTO outbox ({OUTBOX_COLUMNS}) SELECT channel, record_id, camera_id, time_ms, stored_at_ns, "  # noqa: S608
                "body, digest, NULL, '' FROM outbox WHERE id = ?",
                (row_id,),
            )
            database.execute("DELETE FROM outbox WHERE id = ?", (row_id,))
            self._count(channel, quarantined=-1, waiting=1, bytes=size + ROW_BYTES)
            again[channel, camera_id] = None
        return list(again)

    def write(self, database: sqlite3.Connection) -> None:
        """Write the numbers of the ledger within the transaction that they count."""
        changed = [(*key, count) for key, count in self._change.items() if count and key[1] in _WRITTEN]
        if changed:
            database.executemany(ADD_TO_ACCOUNT, changed)

    def committed(self) -> None:
        """Count what the transaction changed."""
        if self._change:
            self._totals.update(self._change)
            self._change = Counter()

    def rolled_back(self) -> None:
        """Forget what the transaction changed."""
        self._change = Counter()

    def accounts(self) -> Mapping[str, OutboxAccounts]:
        """Return the numbers of each channel that ever had a record, as of the last transaction."""
        return {
            channel: OutboxAccounts(
                **{name: self._totals[channel, name] for name in (*_WRITTEN, "waiting", "quarantined", "bytes")}
            )
            for channel in sorted({channel for channel, _ in self._totals})
        }

    def _count(self, channel: str, **changes: int) -> None:
        for name, change in changes.items():
            self._change[channel, name] += change

    def _make_room(self, database: sqlite3.Connection, record: OutboxRecord) -> None:
        key = (record.channel, "bytes")
        while self._totals[key] + self._change[key] + len(record.body) + ROW_BYTES > self._limit:
            gone = database.execute(
                "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE channel = ? AND reason IS NULL "
                "ORDER BY id LIMIT ?) RETURNING LENGTH(body)",
                (record.channel, _GIVEN_UP_AT_ONCE),
            ).fetchall()
            if not gone:
                return
            size = sum(row[0] + ROW_BYTES for row in gone)
            self._count(record.channel, waiting=-len(gone), discarded=len(gone), bytes=-size)
            self._given_up.report(f"{len(gone)} of channel {record.channel}, the oldest")


def waiting_records(
    database: sqlite3.Connection, channel: Channel, camera_id: str, after: int, limit: int
) -> list[WaitingRecord]:
    """Return a camera's next records for a channel, oldest first."""
    rows = database.execute(
        "SELECT id, stored_at_ns, record_id, time_ms, body FROM outbox WHERE channel = ? AND camera_id = ? AND id > ? "
        "AND reason IS NULL ORDER BY id LIMIT ?",
        (channel, camera_id, after, limit),
    )
    return [
        WaitingRecord(row_id, at_ns, OutboxRecord(channel, record_id, camera_id, time_ms, bytes(body)))
        for row_id, at_ns, record_id, time_ms, body in rows
    ]


def channels_waiting(database: sqlite3.Connection) -> list[tuple[Channel, str]]:
    """Return channel and camera of all that waits."""
    return list(database.execute("SELECT DISTINCT channel, camera_id FROM outbox WHERE reason IS NULL"))


def last_record_id(database: sqlite3.Connection) -> int:
    """Return the highest id that waits."""
    row = database.execute("SELECT MAX(id) FROM outbox").fetchone()
    return int(row[0] or 0)
