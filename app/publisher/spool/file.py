"""The spool's file: its schema and its lock, how it is opened, and what may be asked of it while it is in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from app.errors import SpoolDamaged, SpoolUnavailable
from app.evidence.rows import EVIDENCE_INDEX, EVIDENCE_TABLES
from app.publisher.spool.high_water_mark import BEFORE, LOG, MARK
from app.publisher.spool.incidents import INCIDENT_TABLES
from app.publisher.spool.outbox import OUTBOX_TABLES, OutboxAccounts
from app.publisher.spool.reserve import RESERVE
from app.publisher.spool.rows import Delivery, Quarantined, Refusal, SpoolAccounts

FILE, LOCK = "spool.db", "spool.lock"
ROW_BYTES = 300
"""What a row costs beside its body; counted towards the spool's size."""
SCHEMA: tuple[str, ...] = (
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, camera_id TEXT NOT NULL,
        stored_at_ns INTEGER NOT NULL, body BLOB NOT NULL, digest INTEGER NOT NULL);
    CREATE INDEX event_of_camera ON event (camera_id, id);
    CREATE TABLE acknowledged (event_id TEXT PRIMARY KEY, at_ns INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX acknowledged_at ON acknowledged (at_ns);
    CREATE TABLE camera (
        camera_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, at_ns INTEGER NOT NULL);
    CREATE TABLE account (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO account VALUES ('accepted', 0), ('published', 0), ('discarded', 0), ('destroyed', 0);
    """,
    """
    CREATE TABLE quarantine (
        id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, camera_id TEXT NOT NULL,
        at_ns INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL, digest INTEGER NOT NULL,
        wish TEXT NOT NULL DEFAULT '');
    """,
    """
    CREATE TABLE analysis (
        camera_id TEXT NOT NULL, kind TEXT NOT NULL, at_ns INTEGER NOT NULL, state BLOB NOT NULL,
        digest INTEGER NOT NULL, PRIMARY KEY (camera_id, kind));
    """,
    INCIDENT_TABLES,
    OUTBOX_TABLES,
    EVIDENCE_TABLES,
    EVIDENCE_INDEX,
)
"""Each entry takes the file from the version of its index to the next one."""


def quarantined(folder: Path) -> list[Quarantined]:
    """Read the quarantine of a spool that may be in use.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    with _connected(folder) as database:
        rows = database.execute(
            "SELECT event_id, camera_id, at_ns, reason, LENGTH(body) FROM quarantine WHERE wish = '' ORDER BY id"
        )
        events = [Quarantined(*row) for row in rows]
        if not _has_outbox(database):
            return events
        rows = database.execute(
            "SELECT record_id, camera_id, stored_at_ns, reason, LENGTH(body), channel FROM outbox "
            "WHERE reason IS NOT NULL AND wish = '' ORDER BY id"
        )
        return sorted([*events, *(Quarantined(*row) for row in rows)], key=lambda each: each.at_ns)


def ask_quarantine(folder: Path, action: Literal["resend", "drop"], event_ids: Sequence[str]) -> int:
    """Ask the publisher to send events again, or to drop them; no ids: all. Return how many that are.

    The publisher does it within seconds, or when it next runs.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be written.
    """
    with _connected(folder) as database:
        places = ["quarantine SET wish = ? WHERE event_id"]
        if _has_outbox(database):
            places.append("outbox SET wish = ? WHERE reason IS NOT NULL AND record_id")
        count = 0
        for place in places:
            if not event_ids:
                count += database.execute(f"UPDATE {place} IS NOT NULL AND wish = ''", (action,)).rowcount
            for event_id in event_ids:
                count += database.execute(f"UPDATE {place} = ?", (action, event_id)).rowcount
        return count


def read_accounts(folder: Path) -> SpoolAccounts:
    """Read the numbers of a spool that may be in use.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    with _connected(folder) as database:
        database.execute("BEGIN")
        row = database.execute("SELECT MIN(stored_at_ns) FROM event").fetchone()
        return accounts_of(read_totals(database), row[0], newest_refusal(database))


def _has_outbox(database: sqlite3.Connection) -> bool:
    """Return whether a publisher of this version has opened the file."""
    return database.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox'").fetchone() is not None


@contextlib.contextmanager
def _connected(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / FILE
    if not path.is_file():
        raise SpoolUnavailable(f"there is no spool in {str(folder)!r}")
    try:
        database = sqlite3.connect(path, timeout=10, isolation_level=None)
        try:
            yield database
        finally:
            database.close()
    except sqlite3.Error as error:
        raise SpoolUnavailable(f"the spool {str(path)!r} cannot be read: {error}") from None


def lock(folder: Path) -> int:
    """Make the folder where it is not, and take it for this process alone; return the lock's file descriptor.

    Raises:
        SpoolUnavailable: it cannot be written, or another publisher has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolUnavailable(f"the spool's folder {str(folder)!r} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise SpoolUnavailable(f"the spool in {str(folder)!r} is in use by another publisher") from None
    return held


def remove_spool(folder: Path) -> None:
    """Remove a spool that was moved; its lock stays, and so do files that were put aside as damaged.

    Raises:
        OSError: it cannot be removed.
    """
    for name in (FILE, LOG, f"{FILE}-shm", BEFORE, MARK, RESERVE):
        (folder / name).unlink(missing_ok=True)


def connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open the file, in WAL mode.

    Raises:
        SpoolDamaged: it is no database.
        sqlite3.OperationalError: it cannot be opened.
    """
    database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute("PRAGMA journal_size_limit = 4194304")
    except sqlite3.DatabaseError as error:
        database.close()
        if not isinstance(error, sqlite3.OperationalError):
            raise SpoolDamaged(str(error)) from None
        raise
    return database


def upgrade(database: sqlite3.Connection) -> None:
    """Take the file to the schema of this version.

    Raises:
        SpoolUnavailable: a newer version wrote it.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(SCHEMA):
        raise SpoolUnavailable(f"the spool was written by a newer Sightline (schema {version}, known {len(SCHEMA)})")
    for number, step in enumerate(SCHEMA[version:], version + 1):
        database.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")


def read_totals(database: sqlite3.Connection) -> Counter[str]:
    """Read the numbers of the ledger, and count the rest."""
    totals = Counter(dict(database.execute("SELECT name, count FROM account").fetchall()))
    spooled, size = database.execute("SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM event").fetchone()
    (set_aside,) = database.execute("SELECT COUNT(*) FROM quarantine").fetchone()
    totals.update(spooled=spooled, bytes=size + spooled * ROW_BYTES, quarantined=set_aside)
    return totals


def newest_refusal(database: sqlite3.Connection) -> str:
    """Return why the newest of the quarantined events was refused; empty where none is."""
    row = database.execute("SELECT reason FROM quarantine ORDER BY id DESC LIMIT 1").fetchone()
    return str(row[0]) if row else ""


def act_on_wishes(database: sqlite3.Connection, change: Counter[str]) -> list[str]:
    """Drop events, and have events wait again, as was asked of the quarantine; return the cameras of the latter."""
    dropped = database.execute("DELETE FROM quarantine WHERE wish = 'drop'").rowcount
    change["discarded"] += dropped
    change["quarantined"] -= dropped
    again = database.execute(
        "SELECT camera_id, COUNT(*), SUM(LENGTH(body)) FROM quarantine WHERE wish = 'resend' GROUP BY camera_id"
    ).fetchall()
    if again:
        count, size = sum(row[1] for row in again), sum(row[2] for row in again)
        change.update(spooled=count, quarantined=-count, bytes=size + count * ROW_BYTES)
        database.execute(
            "INSERT INTO event (event_id, camera_id, stored_at_ns, body, digest) SELECT event_id, camera_id, at_ns, "
            "body, digest FROM quarantine WHERE wish = 'resend' ORDER BY id"
        )
        database.execute("DELETE FROM quarantine WHERE wish = 'resend'")
    return [row[0] for row in again]


def accounts_of(
    totals: Counter[str],
    oldest_at_ns: int | None,
    refusal: str,
    channels: Mapping[str, OutboxAccounts] | None = None,
) -> SpoolAccounts:
    """Return the numbers as a reading."""
    return SpoolAccounts(
        accepted=totals["accepted"],
        published=totals["published"],
        discarded=totals["discarded"],
        quarantined=totals["quarantined"],
        spooled=totals["spooled"],
        bytes=totals["bytes"],
        oldest_at_ns=oldest_at_ns,
        destroyed=totals["destroyed"],
        refusal=refusal,
        channels=channels or {},
    )


def set_aside(database: sqlite3.Connection, refusal: Refusal, change: Counter[str]) -> None:
    """Move an event that Kafka refuses for good to the quarantine."""
    row = database.execute("SELECT LENGTH(body) FROM event WHERE id = ?", (refusal.id,)).fetchone()
    if row is None:
        return
    database.execute(
        "INSERT OR REPLACE INTO quarantine (event_id, camera_id, at_ns, reason, body, digest) "
        "SELECT event_id, camera_id, ?, ?, body, digest FROM event WHERE id = ?",
        (refusal.at_ns, refusal.reason, refusal.id),
    )
    database.execute("DELETE FROM event WHERE id = ?", (refusal.id,))
    change.update(spooled=-1, quarantined=1, bytes=-row[0] - ROW_BYTES)


def settle(database: sqlite3.Connection, delivery: Delivery, change: Counter[str]) -> None:
    """Forget an event that the topic has, but for its id."""
    row = database.execute("DELETE FROM event WHERE id = ? RETURNING LENGTH(body)", (delivery.id,)).fetchone()
    if row is not None:  # else it was destroyed with its file, and is counted so
        change.update(spooled=-1, bytes=-row[0] - ROW_BYTES)
        change["published"] += 1
    remember(database, delivery.event_id, delivery.at_ns)


def remember(database: sqlite3.Connection, event_id: str, at_ns: int) -> None:
    """Remember the id of an event that is acknowledged."""
    database.execute("INSERT OR REPLACE INTO acknowledged VALUES (?, ?)", (event_id, at_ns))
