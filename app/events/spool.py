"""Spool: accepted events on disk until Kafka has them, in SQLite; what it has committed survives any process.

One thread uses it. Its numbers are written in the transactions that they count, so that in any state of the file
``accepted = published + spooled + quarantined + discarded`` (contract, section 5).

SQLite runs in WAL mode: with ``synchronous=NORMAL`` a commit survives the death of every process, with ``FULL`` also
the loss of power (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.errors import SpoolDamaged, SpoolFull, SpoolUnavailable
from app.events import salvage
from app.events.stored import digest

logger = logging.getLogger(__name__)

FILE, LOCK, RESERVE = "spool.db", "spool.lock", "reserve"
RESERVE_BYTES = 4 * 1024 * 1024
"""Room kept back: on a full disk it is given up, so that acknowledgements can still be written down."""
ROW_BYTES = 300
"""What a row costs beside its body; counted towards the spool's size."""
REPEAT_WINDOW_S = 600.0
"""How long an acknowledged id is remembered (contract, section 4)."""
CAMERA_MEMORY_S = 30 * 86_400.0
"""How long the order of a camera of which nothing comes is remembered."""
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
)
"""Each entry takes the file from the version of its index to the next one."""


@dataclass(frozen=True)
class SpoolOptions:
    """Where a spool is, and how large and how careful."""

    folder: Path
    max_bytes: int = 1 << 30
    synchronous: Literal["normal", "full"] = "normal"


@dataclass(frozen=True)
class Arrival:
    """An event to be committed."""

    event_id: str
    camera_id: str
    epoch: int
    sequence: int
    body: bytes
    """Empty: the event is accepted and counted, but not to be published."""
    at_ns: int


@dataclass(frozen=True)
class Waiting:
    """An event that waits for Kafka."""

    id: int
    """Rising in the order of commit."""
    event_id: str
    camera_id: str
    stored_at_ns: int
    body: bytes


@dataclass(frozen=True)
class Refusal:
    """An event that Kafka refuses for good, and why."""

    id: int
    reason: str
    at_ns: int


@dataclass(frozen=True)
class Delivery:
    """An event that the topic has."""

    id: int
    event_id: str
    at_ns: int


@dataclass(frozen=True)
class Quarantined:
    """An event that was set aside."""

    event_id: str
    camera_id: str
    at_ns: int
    reason: str
    bytes: int


@dataclass(frozen=True)
class SpoolAccounts:
    """One reading of the spool's own numbers; ``accepted = published + spooled + quarantined + discarded``."""

    accepted: int
    published: int
    discarded: int
    """Not to be published; or destroyed on disk, which ``destroyed`` tells apart."""
    quarantined: int
    spooled: int
    bytes: int
    """Of what is spooled."""
    oldest_at_ns: int | None
    """When the oldest of them was committed."""
    destroyed: int
    """Of the discarded: lost with a damaged file."""

    @property
    def balanced(self) -> bool:
        """Whether every accepted event is in exactly one place."""
        return self.accepted == self.published + self.spooled + self.quarantined + self.discarded


@dataclass(frozen=True)
class Turn:
    """The last frame of a camera that was committed."""

    camera_id: str
    epoch: int
    sequence: int


class Spool:
    """The file, opened; ended by :meth:`close`.

    Raises:
        SpoolUnavailable: another publisher has it, a newer Sightline wrote it, or its folder cannot be written.
    """

    def __init__(self, options: SpoolOptions) -> None:
        self._options = options
        self._path = options.folder / FILE
        self._lock = _lock(options.folder)
        self._disk_full = False
        try:
            self._database = self._open()
            self._hold_reserve()
        except BaseException:
            os.close(self._lock)
            raise
        self._totals = _read_totals(self._database)
        self._change: Counter[str] = Counter()

    def commit(
        self, arrivals: Sequence[Arrival], deliveries: Sequence[Delivery] = (), refusals: Sequence[Refusal] = ()
    ) -> list[int | None]:
        """Write down, in one transaction, all that has come together.

        Returns:
            For each arrival the id under which it waits; 0 where it does not wait; ``None`` where it had been
            committed before.

        Raises:
            SpoolFull: there is no room for the arrivals. Nothing was written.
            SpoolUnavailable: the file cannot be written now. Nothing was written.
        """
        needed = sum(len(arrival.body) + ROW_BYTES for arrival in arrivals if arrival.body)
        if needed and self._totals["bytes"] + needed > self._options.max_bytes:
            raise SpoolFull(
                f"the spool is full: it holds {self._totals['bytes'] >> 20} MiB, the limit of spool.max_bytes"
            )
        if arrivals and self._disk_full and not self._hold_reserve():
            raise SpoolFull("the spool's disk is full")
        with self._transaction() as database:
            ids = [self._take(database, arrival) for arrival in arrivals]
            for delivery in deliveries:
                self._forget(database, delivery)
            for refusal in refusals:
                self._set_aside(database, refusal)
        return ids

    def knows(self, event_id: str) -> bool:
        """Tell whether an event was committed, and waits, or was acknowledged or set aside lately."""
        row = self._database.execute(
            "SELECT EXISTS (SELECT 1 FROM event WHERE event_id = :id) OR EXISTS (SELECT 1 FROM acknowledged "
            "WHERE event_id = :id) OR EXISTS (SELECT 1 FROM quarantine WHERE event_id = :id)",
            {"id": event_id},
        ).fetchone()
        return bool(row[0])

    def waiting(self, camera_id: str, after: int, limit: int) -> list[Waiting]:
        """Give a camera's next events, oldest first; a damaged one is passed over and stays to be counted."""
        rows = self._database.execute(
            "SELECT id, event_id, camera_id, stored_at_ns, body FROM event WHERE camera_id = ? AND id > ? "
            "ORDER BY id LIMIT ?",
            (camera_id, after, limit),
        )
        return [Waiting(*row) for row in rows]

    def cameras_waiting(self) -> list[str]:
        """Give the cameras of which events wait."""
        return [row[0] for row in self._database.execute("SELECT DISTINCT camera_id FROM event")]

    def turns(self) -> list[Turn]:
        """Give the last committed frame of each camera."""
        return [Turn(*row) for row in self._database.execute("SELECT camera_id, epoch, sequence FROM camera")]

    def last_id(self) -> int:
        """Give the highest id given so far."""
        row = self._database.execute("SELECT MAX(id) FROM event").fetchone()
        return int(row[0] or 0)

    def accounts(self) -> SpoolAccounts:
        """Give the numbers as of the last transaction."""
        row = self._database.execute("SELECT stored_at_ns FROM event ORDER BY id LIMIT 1").fetchone()
        return _accounts(self._totals, row[0] if row else None)

    def tidy(self, now_ns: int) -> list[str]:
        """Forget what is too old, and do what was asked of the quarantine; give the cameras that have events again."""
        with self._transaction() as database:
            database.execute("DELETE FROM acknowledged WHERE at_ns < ?", (now_ns - int(REPEAT_WINDOW_S * 1e9),))
            database.execute("DELETE FROM camera WHERE at_ns < ?", (now_ns - int(CAMERA_MEMORY_S * 1e9),))
            dropped = database.execute("DELETE FROM quarantine WHERE wish = 'drop'").rowcount
            self._count("discarded", dropped)
            self._change["quarantined"] -= dropped
            again = database.execute(
                "SELECT camera_id, COUNT(*), SUM(LENGTH(body)) FROM quarantine WHERE wish = 'resend' GROUP BY camera_id"
            ).fetchall()
            if again:
                count, size = sum(row[1] for row in again), sum(row[2] for row in again)
                self._change.update(spooled=count, quarantined=-count, bytes=size + count * ROW_BYTES)
                database.execute(
                    "INSERT INTO event (event_id, camera_id, stored_at_ns, body, digest) SELECT event_id, camera_id, "
                    "at_ns, body, digest FROM quarantine WHERE wish = 'resend' ORDER BY id"
                )
                database.execute("DELETE FROM quarantine WHERE wish = 'resend'")
        if self._disk_full:
            self._hold_reserve()
        return [row[0] for row in again]

    def close(self) -> None:
        """Close the file; what it holds stays."""
        self._database.close()
        os.close(self._lock)

    def _open(self) -> sqlite3.Connection:
        try:
            database = _connect(self._path, self._options.synchronous)
            salvage.check(database)
            _upgrade(database)
        except SpoolDamaged as error:
            return self._start_over(str(error))
        except sqlite3.Error as error:
            raise SpoolUnavailable(f"the spool {str(self._path)!r} cannot be opened: {error}") from None
        return database

    def _start_over(self, reason: str) -> sqlite3.Connection:
        """Put a damaged file aside, and carry over what can be read."""
        aside = salvage.put_aside(self._path)
        database = _connect(self._path, self._options.synchronous)
        _upgrade(database)
        rescued = salvage.rescue(aside, database)
        logger.error("the spool was damaged (%s): %s; the file is kept as %s", reason, rescued, aside.name)
        return database

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._change = Counter()
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._database.execute("COMMIT")
            self._totals.update(self._change)
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            self._fail(error)
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    def _fail(self, error: sqlite3.Error) -> None:
        """Translate what SQLite says, and do what can be done about it."""
        code = error.sqlite_errorcode & 0xFF if isinstance(getattr(error, "sqlite_errorcode", None), int) else 0
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = self._start_over(str(error))
            self._totals = _read_totals(self._database)
            raise SpoolDamaged(f"the spool was damaged and was made anew: {error}") from None
        if code == sqlite3.SQLITE_FULL:
            self._disk_full = True
            with contextlib.suppress(OSError):
                (self._options.folder / RESERVE).unlink()
            raise SpoolFull("the spool's disk is full") from None
        raise SpoolUnavailable(f"the spool cannot be written: {error}") from None

    def _take(self, database: sqlite3.Connection, arrival: Arrival) -> int | None:
        if self.knows(arrival.event_id):
            return None
        given = 0
        if arrival.body:
            inserted = database.execute(
                "INSERT INTO event (event_id, camera_id, stored_at_ns, body, digest) VALUES (?, ?, ?, ?, ?)",
                (arrival.event_id, arrival.camera_id, arrival.at_ns, arrival.body, digest(arrival.body)),
            )
            given = int(inserted.lastrowid or 0)
            self._change.update(spooled=1, bytes=len(arrival.body) + ROW_BYTES)
        else:
            _remember(database, arrival.event_id, arrival.at_ns)
            self._count("discarded", 1)
        self._count("accepted", 1)
        if arrival.epoch:
            database.execute(
                "INSERT INTO camera VALUES (?, ?, ?, ?) ON CONFLICT (camera_id) DO UPDATE SET epoch = excluded.epoch, "
                "sequence = excluded.sequence, at_ns = excluded.at_ns "
                "WHERE (excluded.epoch, excluded.sequence) > (epoch, sequence)",
                (arrival.camera_id, arrival.epoch, arrival.sequence, arrival.at_ns),
            )
        return given

    def _forget(self, database: sqlite3.Connection, delivery: Delivery) -> None:
        row = database.execute("DELETE FROM event WHERE id = ? RETURNING LENGTH(body)", (delivery.id,)).fetchone()
        if row is not None:  # else it was destroyed with its file, and is counted so
            self._change.update(spooled=-1, bytes=-row[0] - ROW_BYTES)
            self._count("published", 1)
        _remember(database, delivery.event_id, delivery.at_ns)

    def _set_aside(self, database: sqlite3.Connection, refusal: Refusal) -> None:
        row = database.execute("SELECT LENGTH(body) FROM event WHERE id = ?", (refusal.id,)).fetchone()
        if row is None:
            return
        database.execute(
            "INSERT OR REPLACE INTO quarantine (event_id, camera_id, at_ns, reason, body, digest) "
            "SELECT event_id, camera_id, ?, ?, body, digest FROM event WHERE id = ?",
            (refusal.at_ns, refusal.reason, refusal.id),
        )
        database.execute("DELETE FROM event WHERE id = ?", (refusal.id,))
        self._change.update(spooled=-1, quarantined=1, bytes=-row[0] - ROW_BYTES)

    def _count(self, name: str, more: int) -> None:
        """Write a number of the ledger within the transaction that it counts."""
        if more:
            self._change[name] += more
            self._database.execute("UPDATE account SET count = count + ? WHERE name = ?", (more, name))

    def _hold_reserve(self) -> bool:
        """Take the reserve (back); tell whether there was room for it."""
        path = self._options.folder / RESERVE
        try:
            if not path.exists() or path.stat().st_size < RESERVE_BYTES:
                with path.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            self._disk_full = True
            return False
        self._disk_full = False
        return True


def quarantined(folder: Path) -> list[Quarantined]:
    """Read the quarantine of a spool that may be in use.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    with _visit(folder) as database:
        rows = database.execute(
            "SELECT event_id, camera_id, at_ns, reason, LENGTH(body) FROM quarantine WHERE wish = '' ORDER BY id"
        )
        return [Quarantined(*row) for row in rows]


def ask_quarantine(folder: Path, wish: Literal["resend", "drop"], event_ids: Sequence[str]) -> int:
    """Ask the publisher to send events again, or to drop them; none named: all. Give how many that are.

    The publisher does it within seconds, or when it next runs.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be written.
    """
    with _visit(folder) as database:
        if not event_ids:
            return database.execute("UPDATE quarantine SET wish = ? WHERE wish = ''", (wish,)).rowcount
        return sum(
            database.execute("UPDATE quarantine SET wish = ? WHERE event_id = ?", (wish, event_id)).rowcount
            for event_id in event_ids
        )


def read_accounts(folder: Path) -> SpoolAccounts:
    """Read the numbers of a spool that may be in use.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    with _visit(folder) as database:
        database.execute("BEGIN")
        row = database.execute("SELECT MIN(stored_at_ns) FROM event").fetchone()
        return _accounts(_read_totals(database), row[0])


@contextlib.contextmanager
def _visit(folder: Path) -> Iterator[sqlite3.Connection]:
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


def _lock(folder: Path) -> int:
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


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
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


def _upgrade(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(SCHEMA):
        raise SpoolUnavailable(f"the spool was written by a newer Sightline (schema {version}, known {len(SCHEMA)})")
    for number, step in enumerate(SCHEMA[version:], version + 1):
        database.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")


def _read_totals(database: sqlite3.Connection) -> Counter[str]:
    totals = Counter(dict(database.execute("SELECT name, count FROM account").fetchall()))
    spooled, size = database.execute("SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM event").fetchone()
    (set_aside,) = database.execute("SELECT COUNT(*) FROM quarantine").fetchone()
    totals.update(spooled=spooled, bytes=size + spooled * ROW_BYTES, quarantined=set_aside)
    return totals


def _accounts(totals: Counter[str], oldest_at_ns: int | None) -> SpoolAccounts:
    return SpoolAccounts(
        accepted=totals["accepted"],
        published=totals["published"],
        discarded=totals["discarded"],
        quarantined=totals["quarantined"],
        spooled=totals["spooled"],
        bytes=totals["bytes"],
        oldest_at_ns=oldest_at_ns,
        destroyed=totals["destroyed"],
    )


def _remember(database: sqlite3.Connection, event_id: str, at_ns: int) -> None:
    database.execute("INSERT OR REPLACE INTO acknowledged VALUES (?, ?)", (event_id, at_ns))
