"""Resharding: a shard's spool is opened; where the folder has another number of shards, all spools are moved first.

What is moved: the waiting events and records, each camera's in their order; each camera's last (epoch, sequence), and
the states of its analysis, so that its objects keep their ids; the ids that were acknowledged lately; the quarantine,
with what was asked of it; rules, incidents and counts; the ledger. A camera's rows go to the one shard that has it from
now on. An acknowledged id names no camera, and rules may be of any, so every shard gets them. The ledger's past
(published, discarded) belongs to no camera, so the first shard gets it: the sums over all shards stay what they were.

What is guaranteed, whenever and however often the process is killed, or power fails: before the one write of the
layout file that decides, the old spools are whole and count, and the attempt is thrown away by the next one; after it
the new ones are whole and count, and the next one to open a spool finishes. Nothing is lost, nothing moved twice, and
nothing is committed to a new spool before. The steps:

1. alone with the folder (``layout.hold``), take every spool in it under its own exclusive lock: a
   publisher that still runs keeps its spool, and the move waits for its end;
2. build the new spools in the staging folder, and write them through to the disk;
3. the layout says: so many shards, these folders are leaving, new spools arrive;
4. remove what leaves, 5. move the new spools out of staging, 6. the layout says: settled.

Several shards that start together need no other agreement: the first one to hold the folder moves, the others find it
done. Spools that are there though the layout knows nothing of them (an older Sightline made one in the folder itself)
are taken in in the same way. A move needs room on the disk for a second copy; without it nothing is changed, and
setting ``publisher.shards`` back takes the old spools up at once.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from app.core.files import sync
from app.errors import SpoolUnavailable
from app.evidence.rows import EVIDENCE_COLUMNS, move_counts
from app.publisher.shards import Shard, shard_of, shards_of
from app.publisher.spool.analysis import KEEP_STATE, Analysis
from app.publisher.spool.evidence import SpoolEvidence
from app.publisher.spool.file import FILE, LOCK, lock, remove_spool, upgrade
from app.publisher.spool.layout import STAGING, Layout, folder_of, hold, read_layout, spools_in, write_layout
from app.publisher.spool.order import KEEP_ORDER_KEY
from app.publisher.spool.outbox import ADD_TO_ACCOUNT
from app.publisher.spool.rows import SpoolOptions
from app.publisher.spool.spool import Spool

logger = logging.getLogger(__name__)

Row = tuple[object, ...]
_EVENTS = "id, event_id, camera_id, stored_at_ns, body, digest"
_OUTBOX_REST = "camera_id, time_ms, body, digest, reason, wish"
_SET_ASIDE = "id, event_id, camera_id, at_ns, reason, body, digest, wish"


def _no_step(_: str) -> None:
    """Do nothing between two steps."""


def open_shard(
    options: SpoolOptions,
    shard: Shard,
    analysis: Analysis | None = None,
    evidence: SpoolEvidence | None = None,
    *,
    step: Callable[[str], None] = _no_step,
) -> Spool:
    """Open a shard's spool; move all spools of the folder first, where it has another number of shards.

    Args:
        options: the folder of all shards, and what they may hold together; each may hold its equal part.
        shard: the one to open.
        analysis: what is to be known of its cameras, frame by frame; ``None``: nothing.
        evidence: keeps the pictures of its incidents; ``None``: there are none.
        step: called after each step of a move that a death could follow.

    Raises:
        SpoolUnavailable: another publisher has a spool that is needed, or the folder cannot be written now.
    """
    root = options.folder
    own = replace(options, folder=folder_of(root, shard), max_bytes=options.max_bytes // shard.count)
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold(root, alone=False):
            if _fits(root, shard.count):
                return Spool(own, analysis, evidence)
        with hold(root, alone=True):
            _finish(root, step)
            if not _fits(root, shard.count):
                _move(options, shard.count, step)
            return Spool(own, analysis, evidence)
    except OSError as error:
        raise SpoolUnavailable(f"the spool's folder {str(root)!r} cannot be written: {error.strerror}") from None
    except sqlite3.Error as error:
        raise SpoolUnavailable(f"the spools in {str(root)!r} cannot be moved: {error}") from None


def _fits(root: Path, count: int) -> bool:
    expected = {folder_of(root, shard) for shard in shards_of(count)}
    return read_layout(root) == Layout(count) and expected.issuperset(spools_in(root))


def _move(options: SpoolOptions, count: int, step: Callable[[str], None]) -> None:
    root = options.folder
    sources = spools_in(root)
    staging = root / STAGING
    with contextlib.ExitStack() as held:
        for folder in sources:
            # As any publisher opens it: under its lock, brought to this schema, what is damaged salvaged and counted.
            held.enter_context(contextlib.closing(Spool(replace(options, folder=folder))))
        if sources:
            step("the old spools are held")
            _require_space(root, sources)
            try:
                waiting = _build(staging, sources, count, step)
            except (OSError, sqlite3.Error):
                shutil.rmtree(staging, ignore_errors=True)  # it may be what fills the disk
                raise
            logger.warning("%d waiting events are moved: from %d spools to %d", waiting, len(sources), count)
        leaving = tuple(str(folder.relative_to(root)) for folder in sources)
        write_layout(root, Layout(count, leaving, arriving=bool(sources)))
        step("decided")
    _finish(root, step)


def _finish(root: Path, step: Callable[[str], None]) -> None:
    """Carry a move that was decided to its end; each part of it may have been done before."""
    layout = read_layout(root)
    if layout.settled:
        return
    for name in layout.leaving:
        folder = root / name
        if folder.is_dir():
            with _locked(folder):
                remove_spool(folder)
            step(f"removed {name}")
            if folder != root:
                (folder / LOCK).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # what was put aside as damaged stays, for inspection
                    folder.rmdir()
    write_layout(root, replace(layout, leaving=()))
    step("the old spools are gone")
    for shard in shards_of(layout.shards):
        built, folder = root / STAGING / shard.part / FILE, folder_of(root, shard)
        if built.is_file():
            folder.mkdir(exist_ok=True, mode=0o700)
            remove_spool(folder)  # a log or a count beside it would be taken for its own
            built.replace(folder / FILE)
            sync(folder)
            step(f"placed {shard.part}")
    sync(root)
    shutil.rmtree(root / STAGING, ignore_errors=True)
    write_layout(root, Layout(layout.shards))
    step("settled")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    taken = lock(folder)
    try:
        yield
    finally:
        os.close(taken)


def _require_space(root: Path, sources: Sequence[Path]) -> None:
    files = [folder / name for folder in sources for name in (FILE, f"{FILE}-wal")]
    needed = sum(file.stat().st_size for file in files if file.is_file())
    free = shutil.disk_usage(root).free
    if free < needed:
        raise SpoolUnavailable(
            f"the spools in {str(root)!r} cannot be moved to another number of shards: that needs {needed >> 20} MiB, "
            f"the disk has {free >> 20} MiB"
        )


def _build(staging: Path, sources: Sequence[Path], count: int, step: Callable[[str], None]) -> int:
    """Write the new spools; return how many events wait in them."""
    shutil.rmtree(staging, ignore_errors=True)
    with contextlib.ExitStack() as opened:
        old = [opened.enter_context(contextlib.closing(sqlite3.connect(folder / FILE))) for folder in sources]
        fresh = [opened.enter_context(contextlib.closing(_create(staging / one.part))) for one in shards_of(count)]
        _copy_rows(old, fresh)
        waiting = _write_ledgers(old, fresh)
        _write_outbox_ledgers(old, fresh)
        move_counts(old, fresh)
        for database in fresh:
            database.execute("COMMIT")
    for shard in shards_of(count):
        sync(staging / shard.part / FILE)
        sync(staging / shard.part)
        step(f"built {shard.part}")
    sync(staging)
    return waiting


def _create(folder: Path) -> sqlite3.Connection:
    """Make a new spool, to be thrown away unless all of it was written: so it needs no journal."""
    folder.mkdir(parents=True, mode=0o700)
    database = sqlite3.connect(folder / FILE, isolation_level=None)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    upgrade(database)
    database.execute("BEGIN")
    return database


def _copy_rows(old: Sequence[sqlite3.Connection], fresh: Sequence[sqlite3.Connection]) -> None:
    def home(camera_id: object) -> sqlite3.Connection:
        return fresh[shard_of(str(camera_id), len(fresh))]

    for _, event_id, camera_id, *rest in _in_order(old, "event", _EVENTS):
        home(camera_id).execute(
            "INSERT OR IGNORE INTO event (event_id, camera_id, stored_at_ns, body, digest) VALUES (?, ?, ?, ?, ?)",
            (event_id, camera_id, *rest),
        )
    for _, event_id, camera_id, *rest in _in_order(old, "quarantine", _SET_ASIDE):
        home(camera_id).execute(
            "INSERT OR IGNORE INTO quarantine (event_id, camera_id, at_ns, reason, body, digest, wish) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event_id, camera_id, *rest),
        )
    for _, *row in _in_order(old, "outbox", f"id, channel, record_id, stored_at_ns, {_OUTBOX_REST}"):
        # In this order, as _in_order takes the time from there.
        home(row[3]).execute(
            f"INSERT INTO outbox (channel, record_id, stored_at_ns, {_OUTBOX_REST}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            row,
        )
    for database in old:
        for row in database.execute("SELECT camera_id, epoch, sequence, at_ns FROM camera"):
            home(row[0]).execute(KEEP_ORDER_KEY, row)
        for row in database.execute("SELECT camera_id, kind, at_ns, state, digest FROM analysis"):
            home(row[0]).execute(KEEP_STATE, row)
        for row in database.execute("SELECT event_id, at_ns FROM acknowledged"):
            for target in fresh:
                target.execute("INSERT OR IGNORE INTO acknowledged VALUES (?, ?)", row)
        for row in database.execute("SELECT anomaly_id, camera_id, started_ms, ended_ms, body FROM incident"):
            home(row[1]).execute("INSERT OR REPLACE INTO incident VALUES (?, ?, ?, ?, ?)", row)
        for row in database.execute("SELECT rule, minute, camera_id, direction, label, count FROM rule_count"):
            home(row[2]).execute("INSERT OR REPLACE INTO rule_count VALUES (?, ?, ?, ?, ?, ?)", row)
        for key, camera_id, *rest in database.execute(
            f"SELECT {EVIDENCE_COLUMNS} FROM evidence ORDER BY id"  # noqa: S608
        ):
            home(camera_id).execute(
                f"INSERT OR IGNORE INTO evidence ({EVIDENCE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (key, camera_id, *rest),
            )
        for row in database.execute("SELECT anomaly_id, kind, camera_id, key FROM evidence_of"):
            home(row[2]).execute("INSERT OR IGNORE INTO evidence_of VALUES (?, ?, ?, ?)", row)
        # Every shard has all rules; those of a shard that was down when they changed are corrected by the manager.
        for row in database.execute("SELECT id, rules FROM rule_set"):
            for target in fresh:
                target.execute("INSERT OR IGNORE INTO rule_set VALUES (?, ?)", row)


def _in_order(databases: Sequence[sqlite3.Connection], table: str, columns: str) -> Iterator[Row]:
    """Return the rows of several spools: each one's in the order of their ids, and by time as far as that lets."""

    def rows(index: int, database: sqlite3.Connection) -> Iterator[tuple[int, int, Row]]:
        latest = 0
        for row in database.execute(f"SELECT {columns} FROM {table} ORDER BY id"):  # noqa: S608 - constants of this module
            latest = max(latest, int(row[3]))  # clocks may step back: a camera's order is that of its ids
            yield latest, index, row

    merged = heapq.merge(*(rows(*one) for one in enumerate(databases)), key=lambda entry: entry[:2])
    return (row for _, _, row in merged)


def _write_outbox_ledgers(old: Sequence[sqlite3.Connection], fresh: Sequence[sqlite3.Connection]) -> None:
    for database in old:
        past = database.execute("SELECT channel, name, count FROM outbox_account WHERE name != 'accepted'").fetchall()
        settled = [(channel, "accepted", count) for channel, _, count in past]
        fresh[0].executemany(ADD_TO_ACCOUNT, [*past, *settled])
    for database in fresh:
        present = database.execute("SELECT channel, 'accepted', COUNT(*) FROM outbox GROUP BY channel").fetchall()
        database.executemany(ADD_TO_ACCOUNT, present)


def _write_ledgers(old: Sequence[sqlite3.Connection], fresh: Sequence[sqlite3.Connection]) -> int:
    past = {
        name: sum(
            database.execute("SELECT count FROM account WHERE name = ?", (name,)).fetchone()[0] for database in old
        )
        for name in ("published", "discarded", "destroyed")
    }
    waiting = 0
    for number, database in enumerate(fresh):
        here = dict.fromkeys(past, 0) if number else past
        (spooled,) = database.execute("SELECT COUNT(*) FROM event").fetchone()
        (set_aside,) = database.execute("SELECT COUNT(*) FROM quarantine").fetchone()
        counts = {**here, "accepted": here["published"] + here["discarded"] + spooled + set_aside}
        database.executemany("UPDATE account SET count = ? WHERE name = ?", [(n, name) for name, n in counts.items()])
        waiting += spooled
    return waiting
