"""What ``sightline doctor`` computes by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.cli.checks import State, check_rules, outage_bridged
from app.settings.loading import load_settings


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


def test_a_rule_that_is_for_none_of_the_cameras_is_named(tmp_path: Path):
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{id: stop, type: stopped, cameras: [gate-*]}, {id: yard, type: stopped, cameras: [yard]}]")
    shell = {"SIGHTLINE_CAMERAS": "gate-1=synthetic://street", "SIGHTLINE_RULES": str(file)}
    idle, used = check_rules(load_settings(shell))
    assert (idle.state, idle.detail) == (State.NOTE, "yard: no configured camera has an id that these name")
    assert (used.state, used.detail) == (State.PASSED, "1 for the configured cameras")
    assert list(check_rules(load_settings({}))) == [replace(used, detail="3 for the configured cameras")]
