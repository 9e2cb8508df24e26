"""Salvage: what can still be read of a damaged spool is carried over, the rest counted, the file kept aside."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.core.one_line import one_line
from app.errors import SpoolDamaged
from app.evidence.rows import recount
from app.publisher.spool.codec import digest
from app.publisher.spool.outbox import ADD_TO_ACCOUNT, OUTBOX_COLUMNS

_COMPANIONS = ("", "-wal", "-shm")
_KEYS = {
    "event": "id",
    "quarantine": "id",
    "camera": "rowid",
    "acknowledged": "event_id",
    "analysis": "rowid",
    "rule_set": "id",
    "incident": "anomaly_id",
    "rule_count": "rule",
    "outbox": "id",
    "evidence": "id",
    "evidence_of": "anomaly_id",
}
"""The order in which each table lies in the file."""
_LARGEST = 1 << 40
"""A header that claims more bytes is itself damaged."""
_SPAN = 200_000
"""How many of the newest ids are read one by one in a damaged table."""


@dataclass(frozen=True)
class Rescued:
    """What came of a salvage."""

    waiting: int
    """Events carried over that wait for Kafka."""
    set_aside: int
    """Events carried over that Kafka had refused."""
    lost: int | None
    """Events destroyed; ``None`` where the file's own numbers are gone, too."""

    def __str__(self) -> str:
        lost = "an unknown number was" if self.lost is None else f"{self.lost} were"
        return f"{self.waiting} waiting events were carried over, {lost} lost"


def check(database: sqlite3.Connection) -> None:
    """Check a file: its structure, and the digest of every waiting event and record.

    Raises:
        SpoolDamaged: it is damaged.
    """
    try:
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise SpoolDamaged(one_line(verdict, 200))
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in {"event", "outbox"} & tables:  # a new file has neither, an old one no outbox
            for body, expected in database.execute(f"SELECT body, digest FROM {table}"):  # noqa: S608
                if digest(body) != expected:
                    raise SpoolDamaged("the bytes of an event are not those that were written")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise SpoolDamaged(str(error)) from None


def put_aside(path: Path) -> Path:
    """Rename a file and its companions; return its new path."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for companion in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(aside.with_name(aside.name + companion))
    return aside


def rescue(aside: Path, fresh: sqlite3.Connection) -> Rescued:
    """Carry over what can be read of a damaged file into a new one, under the ids it had."""
    copy = _copy(aside)
    damaged = sqlite3.connect(copy, isolation_level=None)
    damaged.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        fresh.execute("BEGIN")
        waiting = _carry(damaged, fresh, "event", "id, event_id, camera_id, stored_at_ns, body, digest", body=4)
        set_aside = _carry(damaged, fresh, "quarantine", "id, event_id, camera_id, at_ns, reason, body, digest", body=5)
        _carry(damaged, fresh, "camera", "camera_id, epoch, sequence, at_ns")
        _carry(damaged, fresh, "acknowledged", "event_id, at_ns")
        _carry(damaged, fresh, "analysis", "camera_id, kind, at_ns, state, digest", body=3)
        _carry_outbox(damaged, fresh)
        _carry(damaged, fresh, "rule_set", "id, rules")
        _carry(damaged, fresh, "incident", "anomaly_id, camera_id, started_ms, ended_ms, body")
        _carry(damaged, fresh, "rule_count", "rule, minute, camera_id, direction, label, count")
        _carry(damaged, fresh, "evidence", "id, key, camera_id, kind, state, bytes, at_ns, reason")
        _carry(damaged, fresh, "evidence_of", "anomaly_id, kind, camera_id, key")
        recount(fresh)
        counts = _accounts(damaged)
        lost = None
        if counts is None:
            fresh.execute("UPDATE account SET count = ? WHERE name = 'accepted'", (waiting + set_aside,))
        else:
            settled = counts["published"] + counts["discarded"]
            lost = max(0, counts["accepted"] - settled - waiting - set_aside)
            counts["accepted"] = settled + waiting + set_aside + lost
            counts["discarded"] += lost
            counts["destroyed"] += lost
            fresh.executemany("UPDATE account SET count = ? WHERE name = ?", [(n, name) for name, n in counts.items()])
        fresh.execute("COMMIT")
    finally:
        damaged.close()
        for companion in _COMPANIONS:
            copy.with_name(copy.name + companion).unlink(missing_ok=True)
    return Rescued(waiting, set_aside, lost)


def _copy(aside: Path) -> Path:
    """Copy a damaged file, to be read: what was put aside stays as it was found.

    SQLite reads nothing of a file that is shorter than its header says (https://www.sqlite.org/fileformat.html,
    section 1.3.8): what is missing is filled up with empty pages.
    """
    copy = aside.with_name(aside.name + ".copy")
    for companion in ("", "-wal"):
        if (original := aside.with_name(aside.name + companion)).is_file():
            shutil.copyfile(original, copy.with_name(copy.name + companion))
    with copy.open("r+b") as file:
        header = file.read(32)
        if header.startswith(b"SQLite format 3") and len(header) == 32:
            (page_size,), (pages,) = struct.unpack(">H", header[16:18]), struct.unpack(">I", header[28:32])
            wanted = pages * (65_536 if page_size == 1 else page_size)
            if file.seek(0, 2) < wanted <= _LARGEST:
                file.truncate(wanted)
    return copy


def _carry(
    damaged: sqlite3.Connection, fresh: sqlite3.Connection, table: str, columns: str, body: int | None = None
) -> int:
    """Copy the sound rows of a table; return how many there were."""
    carried = 0
    marks = ", ".join("?" for _ in columns.split(","))
    for row in _readable(damaged, table, columns):
        if body is not None and not _sound(row[body], row[-1]):
            continue
        with contextlib.suppress(sqlite3.IntegrityError, sqlite3.InterfaceError):
            inserted = fresh.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", row)  # noqa: S608
            carried += inserted.rowcount
    return carried


def _carry_outbox(damaged: sqlite3.Connection, fresh: sqlite3.Connection) -> None:
    """Copy the sound records of the other topics; what is missing in their ledgers counts as discarded."""
    _carry(damaged, fresh, "outbox", f"id, {OUTBOX_COLUMNS.replace('digest, reason, wish', 'reason, wish, digest')}", 6)
    present = Counter(dict(fresh.execute("SELECT channel, COUNT(*) FROM outbox GROUP BY channel").fetchall()))
    counts: dict[str, Counter[str]] = {channel: Counter() for channel in present}
    with contextlib.suppress(sqlite3.Error, ValueError):
        for channel, name, count in damaged.execute("SELECT channel, name, count FROM outbox_account"):
            counts.setdefault(str(channel), Counter())[str(name)] = int(count)
    for channel, named in counts.items():
        settled = named["published"] + named["discarded"] + present[channel]
        named["discarded"] += max(0, named["accepted"] - settled)
        named["accepted"] = named["published"] + named["discarded"] + present[channel]
        fresh.executemany(ADD_TO_ACCOUNT, [(channel, name, count) for name, count in named.items()])


def _sound(body: object, expected: object) -> bool:
    return isinstance(body, bytes) and digest(body) == expected


def _readable(damaged: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[object, ...]]:
    """Return the rows that can be read: from the front up to the first fault, and from the back down to it."""
    key = _KEYS[table]
    for direction in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error):
            yield from damaged.execute(f"SELECT {columns} FROM {table} ORDER BY {key} {direction}")  # noqa: S608
    # Past the fault: each key by itself, as far as the table's span is known.
    if key != "id":
        return
    with contextlib.suppress(sqlite3.Error):
        row = damaged.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        for number in range(max(1, int(row[0]) - _SPAN), int(row[0]) + 1) if row else ():
            with contextlib.suppress(sqlite3.Error):
                yield from damaged.execute(f"SELECT {columns} FROM {table} WHERE id = ?", (number,))  # noqa: S608


def _accounts(damaged: sqlite3.Connection) -> dict[str, int] | None:
    try:
        counts = {str(name): int(count) for name, count in damaged.execute("SELECT name, count FROM account")}
    except (sqlite3.Error, ValueError):
        return None
    return counts if counts.keys() == {"accepted", "published", "discarded", "destroyed"} else None
