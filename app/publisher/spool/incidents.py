"""Incidents in the spool: the rules in force, what they found lately, and how often; asked by the HTTP API.

All of it is written in the transaction of the frame that it is of. Incidents are kept for ``KEPT_S``, and the last
``KEPT`` of those that ended; one that goes on is kept for as long as it does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KEPT_S = 30 * 86_400.0
"""How long an incident, and a count, is kept after its end."""
KEPT = 10_000
"""Incidents kept that have ended; of each shard."""
MINUTE_MS = 60_000
"""Counts are kept by the minute."""

INCIDENT_TABLES = """
    CREATE TABLE rule_set (id INTEGER PRIMARY KEY CHECK (id = 1), rules TEXT NOT NULL);
    CREATE TABLE incident (
        anomaly_id TEXT PRIMARY KEY, camera_id TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER,
        body TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX incident_started ON incident (started_ms);
    CREATE INDEX incident_ended ON incident (ended_ms);
    CREATE INDEX incident_under_way ON incident (camera_id) WHERE ended_ms IS NULL;
    CREATE TABLE rule_count (
        rule TEXT NOT NULL, minute INTEGER NOT NULL, camera_id TEXT NOT NULL, direction TEXT NOT NULL,
        label TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (rule, minute, camera_id, direction, label)
        ) WITHOUT ROWID;
    """


@dataclass(frozen=True)
class Transition:
    """A transition of an incident, to be kept."""

    anomaly_id: str
    camera_id: str
    rule: str
    state: str
    """``new``, ``update``, ``end`` or ``instant``."""
    started_ms: int
    """Capture time in milliseconds since 1970 UTC."""
    ended_ms: int | None
    """``None``: it goes on."""
    direction: str
    """Of a line crossing; empty: it has none."""
    label: str
    """The class of its objects; empty where they are of several, or of none."""
    body: str
    """As it is published: JSON."""


@dataclass(frozen=True)
class IncidentQuery:
    """Which incidents are wanted; ``None`` leaves a property open."""

    anomaly_id: str | None = None
    camera_id: str | None = None
    active: bool | None = None
    """``True``: those that go on; ``False``: those that ended."""
    since_ms: int | None = None
    """Those that go on, or ended at or after this capture time."""
    limit: int = 100
    """The newest so many."""


@dataclass(frozen=True)
class RuleCount:
    """How often a rule found something, from one point in time until the next."""

    from_ms: int
    """Capture time in milliseconds since 1970 UTC."""
    camera_id: str
    direction: str
    """Of line crossings; empty: the rule has none."""
    label: str
    """Class; empty: several, or none."""
    count: int
    """Incidents that began; of a line: crossings."""


def read_rule_set(database: sqlite3.Connection) -> str:
    """Return the rules that were set last, a JSON list; an empty list where none ever were."""
    row = database.execute("SELECT rules FROM rule_set").fetchone()
    return str(row[0]) if row else "[]"


def write_rule_set(database: sqlite3.Connection, rules: str) -> None:
    """Keep rules, a JSON list, instead of those that were set before."""
    database.execute("INSERT OR REPLACE INTO rule_set VALUES (1, ?)", (rules,))


def keep_transitions(database: sqlite3.Connection, transitions: Iterable[Transition]) -> None:
    """Keep what the transitions say of their incidents, and count those that begin."""
    for one in transitions:
        database.execute(
            "INSERT OR REPLACE INTO incident VALUES (?, ?, ?, ?, ?)",
            (one.anomaly_id, one.camera_id, one.started_ms, one.ended_ms, one.body),
        )
        if one.state in ("new", "instant"):
            database.execute(
                "INSERT INTO rule_count VALUES (?, ?, ?, ?, ?, 1) "
                "ON CONFLICT (rule, minute, camera_id, direction, label) DO UPDATE SET count = count + 1",
                (one.rule, one.started_ms // MINUTE_MS, one.camera_id, one.direction, one.label),
            )


def find_incidents(database: sqlite3.Connection, query: IncidentQuery) -> list[Mapping[str, Any]]:
    """Return incidents as they were published last, the newest first."""
    conditions = {
        "anomaly_id = :anomaly_id": query.anomaly_id is not None,
        "camera_id = :camera_id": query.camera_id is not None,
        "ended_ms IS NULL": query.active is True,
        "ended_ms IS NOT NULL": query.active is False,
        "(ended_ms IS NULL OR ended_ms >= :since_ms)": query.since_ms is not None,
    }
    wanted = " AND ".join([text for text, applies in conditions.items() if applies]) or "TRUE"
    rows = database.execute(
        f"SELECT body FROM incident WHERE {wanted} ORDER BY started_ms DESC, anomaly_id LIMIT :limit",  # noqa: S608
        vars(query),
    )
    return [json.loads(body) for (body,) in rows]


def incidents_under_way(database: sqlite3.Connection, camera_id: str) -> list[Mapping[str, Any]]:
    """Return a camera's incidents that go on, as they were published last."""
    rows = database.execute("SELECT body FROM incident WHERE camera_id = ? AND ended_ms IS NULL", (camera_id,))
    return [json.loads(body) for (body,) in rows]


def count_rule(database: sqlite3.Connection, rule: str, from_ms: int, to_ms: int, step_ms: int) -> list[RuleCount]:
    """Return how often a rule found something in each step of a time; steps without anything are left out.

    Args:
        database: the spool's.
        rule: its id.
        from_ms: capture time in milliseconds since 1970 UTC; counted from its minute.
        to_ms: until before this one.
        step_ms: milliseconds, one minute or a multiple of it; steps begin at ``from_ms``.
    """
    rows = database.execute(
        "SELECT (minute - :first) / :step AS number, camera_id, direction, label, SUM(count) FROM rule_count "
        "WHERE rule = :rule AND minute >= :first AND minute * 60000 < :to_ms "
        "GROUP BY number, camera_id, direction, label ORDER BY number, camera_id, direction, label",
        {"rule": rule, "first": from_ms // MINUTE_MS, "step": max(1, step_ms // MINUTE_MS), "to_ms": to_ms},
    )
    begin_ms, step_ms = from_ms // MINUTE_MS * MINUTE_MS, max(1, step_ms // MINUTE_MS) * MINUTE_MS
    return [RuleCount(begin_ms + number * step_ms, *rest) for number, *rest in rows]


def forget_incidents(database: sqlite3.Connection, now_ms: int) -> None:
    """Forget incidents and counts that are too old, and incidents beyond the number that is kept."""
    oldest_ms = now_ms - int(KEPT_S * 1000)
    database.execute("DELETE FROM incident WHERE ended_ms < ?", (oldest_ms,))
    database.execute("DELETE FROM rule_count WHERE minute < ?", (oldest_ms // MINUTE_MS,))
    database.execute(
        "DELETE FROM incident WHERE ended_ms < (SELECT ended_ms FROM incident WHERE ended_ms IS NOT NULL "
        "ORDER BY ended_ms DESC LIMIT 1 OFFSET ?)",
        (KEPT - 1,),
    )
