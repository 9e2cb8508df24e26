"""What the spool keeps for the HTTP API: rules in force, incidents, counts."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.errors import SettingsError
from app.publisher import IncidentQuery, RuleCount, Shard, Spool, SpoolOptions, open_shard
from app.publisher.spool import incidents
from app.publisher.spool.file import FILE, upgrade
from app.publisher.spool.incidents import MINUTE_MS, Transition, forget_incidents, keep_transitions
from app.publisher.spool.salvage import rescue
from app.settings.rule_lists import dump_rules, load_rules, parse_rules
from tests.support.publisher import running_publisher

HOUR_MS = 60 * MINUTE_MS
BEGAN_MS = 1_767_000_000_000 // HOUR_MS * HOUR_MS


def transition(name: str, state: str = "new", at_ms: int = 0, **how: Any) -> Transition:
    """One of a rule; ``at_ms`` after the hour."""
    started_ms = how.pop("started_ms", BEGAN_MS + at_ms)
    fields = {"camera_id": "cam-1", "rule": "no-parking", "direction": "", "label": "car", **how}
    ended_ms = BEGAN_MS + at_ms if state in ("end", "instant") else None
    body = json.dumps({"anomaly_id": name, "state": state})
    return Transition(anomaly_id=name, state=state, started_ms=started_ms, ended_ms=ended_ms, body=body, **fields)


@pytest.fixture
def database() -> Any:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        upgrade(opened)
        yield opened


def found(database: sqlite3.Connection, **wanted: Any) -> list[tuple[str, str]]:
    return [(one["anomaly_id"], one["state"]) for one in incidents.find_incidents(database, IncidentQuery(**wanted))]


def everything(database: sqlite3.Connection) -> list[Any]:
    return incidents.find_incidents(database, IncidentQuery())


def counts(database: sqlite3.Connection) -> list[RuleCount]:
    return incidents.count_rule(database, "no-parking", 0, BEGAN_MS + HOUR_MS, HOUR_MS)


def test_an_incident_is_found_as_it_was_published_last(database: sqlite3.Connection):
    keep_transitions(database, [transition("a"), transition("b", at_ms=10, camera_id="cam-2")])
    keep_transitions(database, [transition("a", "end", at_ms=5_000, started_ms=BEGAN_MS)])
    assert found(database) == [("b", "new"), ("a", "end")]
    assert found(database, active=True) == [("b", "new")]
    assert found(database, active=False) == found(database, camera_id="cam-1") == [("a", "end")]
    assert found(database, since_ms=BEGAN_MS + 5_000) == [("b", "new"), ("a", "end")]
    assert found(database, since_ms=BEGAN_MS + 5_001) == found(database, limit=1) == [("b", "new")]
    assert found(database, anomaly_id="a") == [("a", "end")]


def test_incidents_are_counted_once_by_minute_camera_direction_and_class(database: sqlite3.Connection):
    crossings = [
        transition(str(number), "instant", number * 20_000, rule="line", direction=("left", "right")[number % 2])
        for number in range(6)
    ]
    keep_transitions(database, [*crossings, transition("a"), transition("a", "update"), transition("a", "end")])
    assert incidents.count_rule(database, "no-parking", BEGAN_MS, BEGAN_MS + HOUR_MS, HOUR_MS) == [
        RuleCount(BEGAN_MS, "cam-1", "", "car", 1)
    ]
    by_minute = incidents.count_rule(database, "line", BEGAN_MS, BEGAN_MS + HOUR_MS, MINUTE_MS)
    assert [(one.from_ms - BEGAN_MS, one.direction, one.count) for one in by_minute] == [
        (0, "left", 2),
        (0, "right", 1),
        (MINUTE_MS, "left", 1),
        (MINUTE_MS, "right", 2),
    ]
    first_minute = incidents.count_rule(database, "line", BEGAN_MS, BEGAN_MS + MINUTE_MS, HOUR_MS)
    assert sum(one.count for one in first_minute) == 3


def test_old_incidents_are_forgotten_but_not_those_that_go_on(database: sqlite3.Connection):
    keep_transitions(database, [transition("goes on"), transition("old", "instant"), transition("new", "instant", 10)])
    forget_incidents(database, BEGAN_MS + 5 + int(incidents.KEPT_S * 1000))
    assert found(database) == [("new", "instant"), ("goes on", "new")]
    keep_transitions(database, [transition(f"{number:05}", "instant", number) for number in range(incidents.KEPT + 5)])
    forget_incidents(database, BEGAN_MS)
    kept = found(database, active=False, limit=incidents.KEPT + 100)
    assert len(kept) == incidents.KEPT
    assert kept[0] == (f"{incidents.KEPT + 4:05}", "instant")
    assert found(database, active=True) == [("goes on", "new")]


def test_incidents_counts_and_rules_survive_a_damaged_file_and_another_number_of_shards(tmp_path: Path):
    spool = Spool(SpoolOptions(tmp_path / "spool"))
    spool.set_rules('[{"rule":1}]')
    spool.close()
    with closing(sqlite3.connect(tmp_path / "spool" / FILE, isolation_level=None)) as opened:
        keep_transitions(opened, [transition(f"b{number}", camera_id=f"cam-{number}") for number in range(8)])
    parts = [open_shard(SpoolOptions(tmp_path / "spool"), Shard(number, 2)) for number in (1, 2)]
    assert [part.read(incidents.read_rule_set) for part in parts] == ['[{"rule":1}]'] * 2
    assert sum(len(part.read(everything)) for part in parts) == 8
    found_counts = [one for part in parts for one in part.read(counts)]
    assert sum(one.count for one in found_counts) == 8
    waiting = len(parts[0].read(everything))
    for part in parts:
        part.close()
    with closing(sqlite3.connect(tmp_path / "fresh.db", isolation_level=None)) as fresh:
        upgrade(fresh)
        rescue(tmp_path / "spool" / "shard-1-of-2" / FILE, fresh)
        assert incidents.read_rule_set(fresh) == '[{"rule":1}]'
        assert len(found(fresh)) == waiting > 0


async def test_rules_are_kept_for_the_next_publisher_and_a_mistake_changes_nothing(tmp_path: Path):
    rules = parse_rules([{"id": "no-parking", "type": "stopped", "dwell": 20, "cameras": ["gate-*"]}])
    async with running_publisher(tmp_path) as it:
        assert await it.publisher.rules.rule_set() == "[]"
        await it.publisher.rules.set_rules(dump_rules(rules))
        with pytest.raises(SettingsError, match="rule 'no-parking': dwell"):
            await it.publisher.rules.set_rules('[{"id": "no-parking", "type": "stopped", "dwell": -1}]')
        with pytest.raises(SettingsError, match="allowed is a JSON list"):
            await it.publisher.rules.set_rules("{}")
        with pytest.raises(SettingsError, match="no JSON"):
            await it.publisher.rules.set_rules("rules:")
    async with running_publisher(tmp_path) as reborn:
        assert load_rules(await reborn.publisher.rules.rule_set()) == rules
        assert await asyncio.wait_for(reborn.publisher.rules.incidents(IncidentQuery()), 10) == []
        assert await reborn.publisher.rules.counts("no-parking", 0, BEGAN_MS, HOUR_MS) == []
