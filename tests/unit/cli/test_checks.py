"""What ``sightline doctor`` computes by itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.cli.checks import State, check_kafka, check_rules, outage_bridged
from app.settings.loading import load_settings
from tests.support.scripted_broker import ScriptedBroker


@pytest.mark.parametrize(
    ("cameras", "bridged"),
    [
        ("a=synthetic://street,b=synthetic://street", timedelta(seconds=(1 << 20) / 10)),  # 1 GiB of 1 KiB, 10 a second
        (",".join(["synthetic://street"] * 100), timedelta(seconds=(1 << 20) / 500)),
    ],
)
def test_the_spool_bridges_an_outage_by_its_size_and_the_rate_of_the_cameras(cameras: str, bridged: timedelta):
    assert outage_bridged(load_settings({"SIGHTLINE_CAMERAS": cameras})) == bridged


def test_the_spool_bridges_no_longer_outage_than_an_event_may_be_old():
    settings = load_settings({"SIGHTLINE_CAMERAS": "a=synthetic://street", "INFERENCE_FPS": "0.1"})
    assert outage_bridged(settings) == settings.kafka.max_event_age == timedelta(days=7)


async def test_each_topic_is_checked_and_one_that_is_missing_is_named_with_the_setting_that_turns_it_off():
    async with ScriptedBroker("events", lambda _: None) as broker:
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": broker.address,
            "KAFKA_TOPIC": "events",
            "KAFKA_ANOMALIES_TOPIC": "incidents",
            "KAFKA_OBJECTS_TOPIC": "null",
            "SIGHTLINE_CAMERAS": "a=synthetic://street",
        }
        findings = await asyncio.to_thread(lambda: list(check_kafka(load_settings(environment))))
        passed, failed = findings[0], findings[1]
        assert (passed.state, "topic events has" in passed.detail) == (State.PASSED, True)
        assert (failed.state, "the topic 'incidents' does not exist" in failed.detail) == (State.FAILED, True)
        assert "kafka.anomalies_topic" in failed.mend
        assert not [one for one in findings[2:] if one.state is State.FAILED]
        assert broker.requests["ProduceRequest"] == 0


def test_a_rule_that_is_for_none_of_the_cameras_is_named(tmp_path: Path):
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{id: stop, type: stopped, cameras: [gate-*]}, {id: yard, type: stopped, cameras: [yard]}]")
    shell = {"SIGHTLINE_CAMERAS": "gate-1=synthetic://street", "SIGHTLINE_RULES": str(file)}
    idle, used = check_rules(load_settings(shell))
    assert (idle.state, idle.detail) == (State.NOTE, "yard: no configured camera has an id that these name")
    assert (used.state, used.detail) == (State.PASSED, "1 for the configured cameras")
    assert list(check_rules(load_settings({}))) == [replace(used, detail="3 for the configured cameras")]
