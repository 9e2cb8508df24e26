"""Every way to change rules ends at the publisher's shards, and outlives a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.errors import ChangeNotKept, RuleExists, RuleUnknown
from app.fleet import Origin, rule_store
from app.settings.rule_lists import parse_rule
from tests.support.fleet import Shards, configured_rules, desired_rules

STOP: dict[str, object] = {"id": "stop", "type": "stopped"}
YARD: dict[str, object] = {"id": "yard", "type": "stopped", "dwell": 20}


async def test_what_was_added_changed_and_removed_is_so_after_a_restart(tmp_path: Path):
    rules = desired_rules(Shards(), tmp_path, STOP, YARD)
    await rules.open(0)
    await rules.add(parse_rule({**STOP, "id": "night"}))
    await rules.replace(parse_rule({**STOP, "dwell": 5}))
    await rules.remove("yard")
    rules.close()
    again = desired_rules(Shards(), tmp_path, STOP, YARD)
    await again.open(0)
    assert {rule.settings.id: rule.origin for rule in again.desired} == {"stop": Origin.CHANGED, "night": Origin.ADDED}
    assert [rule.settings for rule in again.desired] == [rule.settings for rule in rules.desired]
    assert again.version == rules.version
    await again.configure(configured_rules({**STOP, "dwell": 7}, YARD))  # the file says something new of one
    assert {rule.settings.id: rule.origin for rule in again.desired} == {
        "stop": Origin.CONFIGURED,
        "night": Origin.ADDED,
    }
    again.close()


async def test_what_there_is_is_not_added_and_what_there_is_not_is_neither_changed_nor_removed(tmp_path: Path):
    rules = desired_rules(Shards(), tmp_path, STOP)
    await rules.open(0)
    before = rules.version
    with pytest.raises(RuleExists):
        await rules.add(parse_rule(STOP))
    with pytest.raises(RuleUnknown):
        await rules.replace(parse_rule(YARD))
    with pytest.raises(RuleUnknown):
        await rules.remove("yard")
    assert rules.version == before
    rules.close()


async def test_a_change_that_cannot_be_kept_is_not_made(tmp_path: Path):
    held = rule_store(tmp_path)
    assert held.acquire()
    shards = Shards()
    rules = desired_rules(shards, tmp_path, STOP)
    await rules.open(0)
    with pytest.raises(ChangeNotKept, match="SIGHTLINE_STATE_DIR"):
        await rules.add(parse_rule(YARD))
    assert [rule.settings.id for rule in rules.desired] == ["stop"]
    held.close()


async def test_nothing_is_sent_before_the_overrides_are_known_and_every_change_at_once_after(tmp_path: Path):
    shards = Shards()
    rules = desired_rules(shards, tmp_path, STOP)
    await rules.configure(configured_rules(STOP, YARD))
    await rules.open(0)
    assert shards.sent == []
    following = asyncio.ensure_future(rules.follow(3600))
    async with asyncio.timeout(10):
        await shards.received.wait()
    assert shards.sent == [["stop", "yard"]]
    await rules.remove("stop")
    await rules.configure(configured_rules({**YARD, "dwell": 30}))
    assert shards.sent == [["stop", "yard"], ["yard"], ["yard"]]
    following.cancel()
    rules.close()


async def test_a_shard_that_has_missed_the_rules_is_named_and_gets_them_within_a_period(tmp_path: Path):
    shards = Shards()
    shards.away = ("shard 1: the publisher is away",)
    rules = desired_rules(shards, tmp_path, STOP)
    await rules.open(0)
    following = asyncio.ensure_future(rules.follow(0.001))
    async with asyncio.timeout(10):
        await shards.received.wait()
        while not rules.trouble:
            await asyncio.sleep(0)
        assert rules.trouble == "shard 1: the publisher is away"
        shards.away = ()
        while rules.trouble:
            await asyncio.sleep(0)
    assert len(shards.sent) > 1
    following.cancel()
    rules.close()
