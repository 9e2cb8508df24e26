"""Spool: accepted events on disk until Kafka has them, in SQLite; what it has committed survives any process.

One thread uses it. Its numbers are written in the transactions that they count, so that in any state of the file
``accepted = published + spooled + quarantined + discarded`` (``proto/README.md``, "Ledgers").

SQLite runs in WAL mode: with ``synchronous=NORMAL`` a commit survives the death of every process, with ``FULL`` also
the loss of power (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from app.core.channel import DETECTIONS
from app.errors import SpoolDamaged, SpoolFull, SpoolUnavailable
from app.publisher.spool import salvage
from app.publisher.spool.analysis import Analysis, AnalysisStates, Ended, NoAnalysis, forget_states
from app.publisher.spool.codec import digest
from app.publisher.spool.evidence import NoEvidence, SpoolEvidence
from app.publisher.spool.file import (
    FILE,
    ROW_BYTES,
    accounts_of,
    act_on_wishes,
    connect,
    lock,
    newest_refusal,
    read_totals,
    remember,
    set_aside,
    settle,
    upgrade,
)
from app.publisher.spool.high_water_mark import HighWaterMark
from app.publisher.spool.incidents import forget_incidents, read_rule_set, write_rule_set
from app.publisher.spool.order import read_order_keys, write_order_key
from app.publisher.spool.outbox import Outbox, WaitingRecord
from app.publisher.spool.reserve import Reserve
from app.publisher.spool.rows import (
    Arrival,
    Committed,
    Delivery,
    OrderKey,
    Refusal,
    SpoolAccounts,
    SpoolOptions,
    Waiting,
)

logger = logging.getLogger(__name__)
_LEDGER = ("accepted", "published", "discarded", "destroyed")
REPEAT_WINDOW_S = 600.0
"""How long an acknowledged id is remembered (``proto/README.md``, "Delivery")."""
CAMERA_MEMORY_S = 30 * 86_400.0
"""How long the order of a camera of which nothing comes is remembered, and the states of its analysis."""
_SWEEP_NS = 3_600 * 10**9
"""How often states are looked through for those of such cameras: that reads the whole table."""
_FORGET_NS = 60 * 10**9
"""How often old incidents and counts are forgotten."""
T = TypeVar("T")


class Spool:
    """The file, opened; ended by :meth:`close`.

    Raises:
        SpoolUnavailable: another publisher has it, a newer Sightline wrote it, or its folder cannot be written.
    """

    def __init__(
        self, options: SpoolOptions, analysis: Analysis | None = None, evidence: SpoolEvidence | None = None
    ) -> None:
        self._options = options
        self._outbox = Outbox(options.max_bytes)
        self._states = AnalysisStates(analysis or NoAnalysis(), self._outbox)
        self._evidence = evidence or NoEvidence()
        self._path = options.folder / FILE
        self._lock = lock(options.folder)
        self._reserve, self._ledger_known = Reserve(options.folder), True
        self._swept_ns = self._forgot_ns = 0
        self._change: Counter[str] = Counter()
        try:
            self._mark = HighWaterMark(options.folder)
            self._database = self._open()
            self._reserve.hold()
            self._read_totals()
            self._count_the_cut_off()
            with self._transaction() as database:
                self._evidence.recover(database, time.time_ns())
        except OSError as error:
            os.close(self._lock)
            raise SpoolUnavailable(f"the spool {str(self._path)!r} cannot be opened: {error.strerror}") from None
        except BaseException:
            os.close(self._lock)
            raise

    def commit(
        self, arrivals: Sequence[Arrival], deliveries: Sequence[Delivery] = (), refusals: Sequence[Refusal] = ()
    ) -> list[Committed | None]:
        """Write down, in one transaction, all that has come together, and what the analysis makes of it.

        Returns:
            For each arrival what became of it; ``None`` where it had been committed before.

        Raises:
            SpoolFull: there is no room for the arrivals. Nothing was written.
            SpoolUnavailable: the file cannot be written now. Nothing was written.
        """
        if arrivals and self._reserve.missing and not self._reserve.hold():
            raise SpoolFull("the spool's disk is full")
        with self._transaction() as database:
            taken = [self._take(database, arrival) for arrival in arrivals]
            self._require_room()
            for delivery in deliveries:
                self._forget(database, delivery)
            for refusal in refusals:
                self._set_aside(database, refusal)
            self._states.write(database)
        return taken

    def knows(self, event_id: str) -> bool:
        """Return whether an event was committed, and waits, or was acknowledged or set aside lately."""
        row = self._database.execute(
            "SELECT EXISTS (SELECT 1 FROM event WHERE event_id = :id) OR EXISTS (SELECT 1 FROM acknowledged "
            "WHERE event_id = :id) OR EXISTS (SELECT 1 FROM quarantine WHERE event_id = :id)",
            {"id": event_id},
        ).fetchone()
        return bool(row[0])

    def waiting(self, camera_id: str, after: int, limit: int) -> list[Waiting]:
        """Return a camera's next events, oldest first."""
        rows = self._database.execute(
            "SELECT id, event_id, camera_id, stored_at_ns, body FROM event WHERE camera_id = ? AND id > ? "
            "ORDER BY id LIMIT ?",
            (camera_id, after, limit),
        )
        return [Waiting(*row) for row in rows]

    def cameras_waiting(self) -> list[str]:
        """Return the cameras of which events wait."""
        return [row[0] for row in self._database.execute("SELECT DISTINCT camera_id FROM event")]

    def order_keys(self) -> list[OrderKey]:
        """Return the last committed frame of each camera."""
        return read_order_keys(self._database)

    def last_id(self) -> int:
        """Return the highest id given so far."""
        row = self._database.execute("SELECT MAX(id) FROM event").fetchone()
        return int(row[0] or 0)

    def accounts(self) -> SpoolAccounts:
        """Return the numbers as of the last transaction."""
        row = self._database.execute("SELECT stored_at_ns FROM event ORDER BY id LIMIT 1").fetchone()
        refusal = newest_refusal(self._database) if self._totals["quarantined"] else ""
        return accounts_of(self._totals, row[0] if row else None, refusal, self._outbox.accounts())

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Return the answer to a question that changes nothing."""
        return question(self._database)

    def change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Make a change of which the ledger knows nothing; raises SpoolUnavailable where it cannot be written."""
        with self._transaction() as database:
            change(database)

    def set_rules(self, rules: str) -> None:
        """Keep rules, a JSON list, from the next commit on."""
        with self._transaction() as database:
            write_rule_set(database, rules)
        self._states.set_rules(rules)

    def end_cameras(self, silent_s: Mapping[str, float | None], at_ns: int) -> dict[str, Ended | None]:
        """End what is under way at cameras that are gone, in one transaction.

        Args:
            silent_s: for how long nothing came of a camera, in seconds; ``None``: it was removed.
            at_ns: now.

        Returns:
            For each camera what ended; ``None``: it may yet go on.

        Raises:
            SpoolUnavailable: the file cannot be written now. Nothing was written.
        """
        with self._transaction() as database:
            self._evidence.enter(database, None, at_ns)
            ended = {camera_id: self._states.end(database, camera_id, s, at_ns) for camera_id, s in silent_s.items()}
            self._states.write(database)
        return ended

    def tidy(self, now_ns: int) -> list[tuple[str, str]]:
        """Forget what is too old, act on requests to the quarantine; return channel and camera of what waits again."""
        with self._transaction() as database:
            database.execute("DELETE FROM acknowledged WHERE at_ns < ?", (now_ns - int(REPEAT_WINDOW_S * 1e9),))
            database.execute("DELETE FROM camera WHERE at_ns < ?", (now_ns - int(CAMERA_MEMORY_S * 1e9),))
            if now_ns - self._forgot_ns >= _FORGET_NS:
                self._forgot_ns = now_ns
                forget_incidents(database, now_ns // 1_000_000)
            if now_ns - self._swept_ns >= _SWEEP_NS:
                self._swept_ns = now_ns
                forget_states(database, now_ns - int(CAMERA_MEMORY_S * 1e9))
            again: list[tuple[str, str]] = [
                *[(DETECTIONS, camera_id) for camera_id in act_on_wishes(database, self._change)],
                *self._outbox.tidy(database),
            ]
            self._evidence.tend(database, now_ns)
            self._outbox.write(database)
        if self._reserve.missing:
            self._reserve.hold()
        return again

    def close(self) -> None:
        """Close the file; what it holds stays."""
        self._evidence.close()
        self._database.close()
        self._mark.close()
        os.close(self._lock)

    def _read_totals(self) -> None:
        self._totals = read_totals(self._database)
        self._outbox.read(self._database)
        self._states.set_rules(read_rule_set(self._database))

    def _open(self) -> sqlite3.Connection:
        try:
            database = connect(self._path, self._options.synchronous)
            salvage.check(database)
            upgrade(database)
        except SpoolDamaged as error:
            return self._start_over(str(error))
        except sqlite3.Error as error:
            raise SpoolUnavailable(f"the spool {str(self._path)!r} cannot be opened: {error}") from None
        return database

    def _start_over(self, reason: str) -> sqlite3.Connection:
        """Put a damaged file aside, and carry over what can be read."""
        aside = salvage.put_aside(self._path)
        database = connect(self._path, self._options.synchronous)
        upgrade(database)
        rescued = salvage.rescue(aside, database)
        self._ledger_known = rescued.lost is not None
        logger.error("the spool was damaged (%s): %s; the file is kept as %s", reason, rescued, aside.name)
        return database

    def _count_the_cut_off(self) -> None:
        """Count what was committed and is gone with the end of the log; some of it Kafka may have had."""
        lost = self._mark.read() - self._totals["accepted"] if self._ledger_known else 0
        kept = self._mark.settle(damaged=lost > 0)
        if lost > 0:
            with self._transaction():
                for name in ("accepted", "discarded", "destroyed"):
                    self._change[name] += lost
            logger.error("the spool's log was damaged: up to %d events were lost; it is kept as %s", lost, kept)
        self._mark.write(self._totals["accepted"])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._change = Counter()
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._write_ledger()
            self._database.execute("COMMIT")
            self._totals.update(self._change)
            self._states.committed()
            self._evidence.committed()
            self._mark.write(self._totals["accepted"])
        except sqlite3.Error as error:
            self._roll_back()
            self._fail(error)
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        self._states.rolled_back()
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("ROLLBACK")
        self._evidence.rolled_back()

    def _fail(self, error: sqlite3.Error) -> None:
        """Translate what SQLite says, and do what can be done about it."""
        code = error.sqlite_errorcode & 0xFF if isinstance(getattr(error, "sqlite_errorcode", None), int) else 0
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = self._start_over(str(error))
            self._read_totals()
            self._states.forget()
            raise SpoolDamaged(f"the spool was damaged and was made anew: {error}") from None
        if code == sqlite3.SQLITE_FULL:
            self._reserve.give_up()
            raise SpoolFull("the spool's disk is full") from None
        raise SpoolUnavailable(f"the spool cannot be written: {error}") from None

    def _require_room(self) -> None:
        """Raise SpoolFull where what has arrived is more than may be held."""
        if self._change["bytes"] and self._totals["bytes"] + self._change["bytes"] > self._options.max_bytes:
            raise SpoolFull(
                f"the spool is full: it holds {self._totals['bytes'] >> 20} MiB, the limit of spool.max_bytes"
            )

    def _take(self, database: sqlite3.Connection, arrival: Arrival) -> Committed | None:
        if self.knows(arrival.event_id):
            return None
        records: tuple[WaitingRecord, ...] = ()
        given, body, analysed = 0, arrival.body, None
        if arrival.frame is not None:
            self._evidence.enter(database, arrival.frame, arrival.at_ns)
            analysed, records = self._states.analyse(database, arrival.camera_id, arrival.frame, arrival.at_ns)
            body = analysed.body
        if body:
            inserted = database.execute(
                "INSERT INTO event (event_id, camera_id, stored_at_ns, body, digest) VALUES (?, ?, ?, ?, ?)",
                (arrival.event_id, arrival.camera_id, arrival.at_ns, body, digest(body)),
            )
            given = int(inserted.lastrowid or 0)
            self._change.update(spooled=1, bytes=len(body) + ROW_BYTES)
        else:
            remember(database, arrival.event_id, arrival.at_ns)
            self._change["discarded"] += 1
        self._change["accepted"] += 1
        if arrival.epoch:
            write_order_key(database, OrderKey(arrival.camera_id, arrival.epoch, arrival.sequence), arrival.at_ns)
        return Committed(given, analysed, records)

    def _forget(self, database: sqlite3.Connection, delivery: Delivery) -> None:
        if delivery.channel is not None:
            self._outbox.forget(database, delivery.id)
            return
        settle(database, delivery, self._change)

    def _set_aside(self, database: sqlite3.Connection, refusal: Refusal) -> None:
        if refusal.channel is not None:
            self._outbox.set_aside(database, refusal.id, refusal.reason)
            return
        set_aside(database, refusal, self._change)

    def _write_ledger(self) -> None:
        """Write the numbers of the ledger within the transaction that they count: once, however many events it has."""
        changed = [(self._change[name], name) for name in _LEDGER if self._change[name]]
        self._database.executemany("UPDATE account SET count = count + ? WHERE name = ?", changed)
