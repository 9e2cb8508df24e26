"""RuleBook: the rules in force and what they found, as the manager and the HTTP API ask for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from app.evidence import rows
from app.evidence.item import Kind
from app.publisher.spool.incidents import IncidentQuery, RuleCount, count_rule, find_incidents, read_rule_set
from app.publisher.spool.writer import SpoolWriter
from app.settings.rule_lists import load_rules

OPEN_PATIENCE_S = 5.0
"""How long a question waits for a spool that is being opened."""


class RuleBook:
    """Rules, incidents and counts of one publisher; all of it is in its spool."""

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool

    async def set_rules(self, rules: str) -> None:
        """Put rules into force from the next committed frame on, and keep them: the next publisher has them, too.

        Args:
            rules: a JSON list, as :func:`app.settings.rule_lists.dump_rules` makes; rules of other cameras may be in
                it. Those in force that are not in it end their incidents. The rules that are in force already change
                nothing.

        Raises:
            SettingsError: one of them is wrong; those before stay in force.
            DeliveryUnavailable: they cannot be kept now; those before stay in force.
        """
        load_rules(rules)
        if await self.rule_set() != rules:  # the manager sends them again and again
            await self._spool.ask(lambda spool: spool.set_rules(rules))

    async def rule_set(self) -> str:
        """Return the rules in force, a JSON list; an empty one where none were ever set.

        Raises:
            DeliveryUnavailable: the spool is not open.
        """
        await self._spool.ready(OPEN_PATIENCE_S)
        return await self._spool.read(read_rule_set)

    async def incidents(self, query: IncidentQuery) -> list[Mapping[str, Any]]:
        """Return incidents as they were published last, the newest first, and how their evidence is by now.

        ``image`` and ``clip`` of an incident have the state and the reason of :class:`app.evidence.rows.EvidenceRow`;
        ``None``: there is none of the kind.

        Raises:
            DeliveryUnavailable: the spool is not open.
        """
        await self._spool.ready(OPEN_PATIENCE_S)
        return await self._spool.read(lambda database: _with_evidence(database, find_incidents(database, query)))

    async def counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> list[RuleCount]:
        """Return how often a rule found something, by steps of time.

        Args:
            rule: its id.
            from_ms: capture time in milliseconds since 1970 UTC, counted from its minute.
            to_ms: until before this one.
            step_ms: milliseconds, one minute or a multiple of it.

        Raises:
            DeliveryUnavailable: the spool is not open.
        """
        await self._spool.ready(OPEN_PATIENCE_S)
        return await self._spool.read(lambda database: count_rule(database, rule, from_ms, to_ms, step_ms))


def _with_evidence(database: sqlite3.Connection, found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    pieces = rows.of_incidents(database, [one["anomaly_id"] for one in found])

    def piece(anomaly_id: str, kind: Kind) -> Mapping[str, str] | None:
        row = pieces.get((anomaly_id, kind))
        return None if row is None else {"state": row.state.value, "reason": row.reason}

    return [
        {**one, "image": piece(one["anomaly_id"], Kind.SNAPSHOT), "clip": piece(one["anomaly_id"], Kind.CLIP)}
        for one in found
    ]
