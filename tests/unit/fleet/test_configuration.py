"""What ``user_config`` and the cameras file say while the system runs is applied, and mistakes change nothing."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from app.fleet.configuration import ConfiguredDefaults, FleetConfiguration
from app.fleet.startup import wait_while_deploying
from app.settings.camera_lists import CameraListSource, ConfiguredCameras
from app.settings.rule_lists import ConfiguredRules, RuleListSource


class Applied:
    """Collects what was applied."""

    def __init__(self) -> None:
        self.cameras: list[list[str]] = []
        self.rules: list[list[str]] = []
        self.budgets: list[int] = []
        self.changed = asyncio.Event()

    async def apply_cameras(self, configured: ConfiguredCameras) -> None:
        self.cameras.append([camera.id for camera in configured.entries])
        self.changed.set()

    async def apply_rules(self, configured: ConfiguredRules) -> None:
        self.rules.append([rule.id for rule in configured.entries])
        self.changed.set()

    async def apply_budget(self, budget_ms: int) -> None:
        self.budgets.append(budget_ms)


def configuration(
    applied: Applied, source: CameraListSource, *fixed: str, rules: RuleListSource | None = None
) -> FleetConfiguration:
    return FleetConfiguration(
        ConfiguredDefaults(source, rules or RuleListSource(entries=(STOP,)), 200, frozenset(fixed)),
        {},
        apply_cameras=applied.apply_cameras,
        apply_rules=applied.apply_rules,
        apply_budget=applied.apply_budget,
        poll_s=0.005,
    )


STOP = {"id": "stop", "type": "stopped"}
GATE = CameraListSource(inline="gate=rtsp://h/1")


async def test_without_a_user_config_the_settings_are_applied():
    applied = Applied()
    made = configuration(applied, GATE)
    await made.start(0.01)
    assert (applied.cameras, applied.budgets) == ([["gate"]], [])
    made.close()


async def test_a_user_config_that_came_first_is_not_applied_over():
    applied = Applied()
    made = configuration(applied, GATE)
    await made.reconfigure({"cameras": "yard=rtsp://h/2", "latency_budget_ms": 150})
    await made.start(10)
    assert (applied.cameras, applied.budgets) == ([["yard"]], [150])
    made.close()


async def test_a_mistake_is_logged_named_as_trouble_and_changes_nothing(caplog: pytest.LogCaptureFixture):
    applied = Applied()
    made = configuration(applied, GATE)
    await made.reconfigure(None)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        await made.reconfigure({"cameras": 5})
    assert "user_config.cameras: a int" in made.trouble
    assert [record.getMessage() for record in caplog.records] == [
        f"cameras: the new configuration is refused and nothing changes: {made.trouble}"
    ]
    assert applied.cameras == [["gate"]]
    await made.reconfigure({})
    assert made.trouble == ""
    made.close()


async def test_the_environment_overrides_a_user_config_with_a_warning(caplog: pytest.LogCaptureFixture):
    applied = Applied()
    made = configuration(applied, GATE, "SIGHTLINE_CAMERAS", "SIGHTLINE_RULES", "SIGHTLINE_LATENCY_BUDGET_MS")
    with caplog.at_level(logging.WARNING, "ray.serve"):
        await made.reconfigure({"cameras": "yard=rtsp://h/2", "rules": [], "latency_budget_ms": 150})
    assert (applied.cameras, applied.rules, applied.budgets) == ([["gate"]], [["stop"]], [200])
    assert [record.getMessage() for record in caplog.records] == [
        "SIGHTLINE_CAMERAS is set, and overrides user_config.cameras",
        "SIGHTLINE_RULES is set, and overrides user_config.rules",
        "SIGHTLINE_LATENCY_BUDGET_MS is set, and overrides user_config.latency_budget_ms",
    ]
    made.close()


async def test_only_the_file_that_is_named_last_is_followed(tmp_path: Path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    for file in (first, second):
        file.write_text("cameras: [{id: a, url: rtsp://h/1}]")
    applied = Applied()
    made = configuration(applied, CameraListSource(file=first))
    await made.reconfigure({})
    await made.reconfigure({"cameras": str(second)})
    applied.changed.clear()
    first.write_text("cameras: [{id: wrong, url: rtsp://h/1}]")
    second.write_text("cameras: [{id: b, url: rtsp://h/1}]")
    async with asyncio.timeout(10):
        await applied.changed.wait()
    assert applied.cameras == [["a"], ["a"], ["b"]]
    made.close()


async def test_the_rules_of_a_user_config_a_file_and_the_settings_are_applied_in_the_same_way(tmp_path: Path):
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{id: night, type: stopped}]")
    applied = Applied()
    made = configuration(applied, GATE)
    await made.start(0.01)
    await made.reconfigure({"rules": [{**STOP, "id": "yard"}]})
    await made.reconfigure({"rules": str(file)})
    assert applied.rules == [["stop"], ["yard"], ["night"]]
    applied.changed.clear()
    file.write_text("rules: []")
    async with asyncio.timeout(10):
        await applied.changed.wait()
    assert applied.rules[-1] == []
    made.close()


@pytest.mark.parametrize("rules", [5, [{"id": "stop"}], [{**STOP, "dwell": 0}]])
async def test_a_mistake_in_the_rules_of_a_user_config_changes_no_rule(rules: object):
    applied = Applied()
    made = configuration(applied, GATE)
    await made.reconfigure({})
    await made.reconfigure({"rules": rules})
    assert applied.rules == [["stop"]]
    assert made.rules_trouble or made.trouble
    made.close()


async def test_cameras_wait_while_the_service_is_deployed_though_the_controller_is_away():
    answers = iter([True, RuntimeError("away"), True, False])
    asked = 0

    async def is_deploying() -> bool:
        nonlocal asked
        asked += 1
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    await wait_while_deploying(is_deploying, 60, poll_s=0.001)
    assert asked == 4


async def test_cameras_do_not_wait_for_ever():
    async def is_deploying() -> bool:
        return True

    async with asyncio.timeout(10):
        await wait_while_deploying(is_deploying, 0.01, poll_s=0.001)
