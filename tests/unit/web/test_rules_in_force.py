"""From a rule in the HTTP API to its incident there: the manager's parts over a real publisher, without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from app.errors import DeliveryUnavailable, SightlineError
from app.fleet import DesiredRules, RuleSender, rule_store
from app.publisher import IncidentQuery, RuleCount
from app.settings.rule_lists import configure_rules, dump_rules
from app.settings.rules import RuleFields
from app.web import Incidents, build_api
from tests.support.changing_system import Changing
from tests.support.fleet import camera
from tests.support.street import FPS, INTRUSION, LINE, START_S, Street, running_street


class Shard:
    """One publisher, as the manager asks it."""

    def __init__(self, street: Street) -> None:
        self.street = street
        self.away = False

    async def set_rules(self, rules: tuple[RuleFields, ...]) -> Sequence[str]:
        try:
            if self.away:
                raise DeliveryUnavailable("the publisher is away")
            await self.street.it.publisher.rules.set_rules(dump_rules(rules))
        except SightlineError as error:
            return (str(error),)
        return ()

    async def incidents(self, query: IncidentQuery) -> Sequence[Mapping[str, Any]]:
        return await self.street.it.publisher.rules.incidents(query)

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> Sequence[RuleCount]:
        return await self.street.it.publisher.rules.counts(rule, from_ms, to_ms, step_ms)


async def test_a_rule_added_by_http_finds_incidents_that_http_reports_until_it_is_removed(tmp_path: Path):
    async with running_street(tmp_path / "spool") as street:
        shard, system = Shard(street), Changing(tmp_path, camera("cam"))
        sender = RuleSender(shard.set_rules)
        system.rules = DesiredRules(configure_rules([dict(LINE)]), rule_store(tmp_path), sender)
        seconds = iter(range(1_000_000))
        system.incidents = Incidents(shard, lambda: float(2 * next(seconds)))  # no answer is old enough to be shared
        await system.rules.open(0)
        sender.begin()
        transport = httpx.ASGITransport(build_api(lambda: system), client=("127.0.0.1", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000/api/v1") as api:
            assert (await api.post("/rules", json=dict(INTRUSION))).status_code == 201
            for number in range(10 * FPS):
                await street.show(number)
            active = (await api.get("/anomalies?active=true")).json()
            assert [(one["rule"], one["state"], one["camera_id"]) for one in active] == [("gate", "new", "cam")]
            assert (await api.get(f"/anomalies/{active[0]['anomaly_id']}")).json() == active[0]
            counts = (await api.get("/rules/count/counts?from=2023-11-14T22:00:00Z&to=2023-11-14T23:00:00Z")).json()
            assert [(one["direction"], one["count"]) for one in counts["counts"]] == [("left_to_right", 1)]
            assert START_S == 1_700_000_000  # 2023-11-14, 22:13:20 UTC

            shard.away = True
            assert (await api.delete("/rules/gate")).status_code == 200
            assert system.rules.trouble == "the publisher is away"
            await street.show(10 * FPS)
            assert [one["rule"] for one in (await api.get("/anomalies?active=true")).json()] == ["gate"]
            shard.away = False
            await sender.send()
            assert system.rules.trouble == ""
            await street.show(10 * FPS + 1)
            assert (await api.get("/anomalies?active=true")).json() == []
            ended = (await api.get(f"/anomalies/{active[0]['anomaly_id']}")).json()
            assert (ended["state"], ended["reason"]) == ("end", "rule_changed")
        system.rules.close()
