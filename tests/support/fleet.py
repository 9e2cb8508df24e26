"""Cameras for these tests, and one who keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from app.cameras import CameraStatus
from app.fleet import DesiredRules, Fleet, Reconciler, RuleSender, camera_store, rule_store
from app.settings.camera_lists import ConfiguredCameras, parse_cameras
from app.settings.cameras import CameraSettings, camera_of
from app.settings.rule_lists import ConfiguredRules, configure_rules
from app.settings.rules import RuleFields


def camera(camera_id: str, url: str = "rtsp://viewer:pa55@gate.example/1", **fields: object) -> CameraSettings:
    return camera_of({"id": camera_id, "url": url, **fields})


def configured(*cameras: CameraSettings) -> ConfiguredCameras:
    return parse_cameras(
        [{**one.model_dump(exclude={"url"}), "url": one.url.written()} for one in cameras],
        {},
    )


@dataclass
class Runner:
    """Starts stand-ins of cameras, and notes what was done."""

    done: list[str] = field(default_factory=list)
    settling: Callable[[], asyncio.Event | None] = lambda: None
    """What a stopped camera waits for before its last frames are settled."""

    def start(self, settings: CameraSettings) -> Running:
        self.done.append(f"start {settings.id} {settings.fps:g}")
        return Running(settings, self)

    def take(self) -> list[str]:
        taken, self.done = self.done, []
        return taken


@dataclass
class Running:
    settings: CameraSettings
    runner: Runner

    async def stop(self) -> CameraStatus | None:
        self.runner.done.append(f"stop {self.settings.id}")
        settled = self.runner.settling()
        if settled is not None:
            await settled.wait()
        self.runner.done.append(f"settled {self.settings.id}")
        return None


def fleet(runner: Runner, folder: Path, *cameras: CameraSettings) -> Fleet:
    """Return a fleet that runs, before it has taken up what was kept."""
    reconciler = Reconciler(runner.start)
    made = Fleet(configured(*cameras), camera_store(folder), reconciler, 5)
    reconciler.start()
    return made


class Shards:
    """Stands in for the publisher's shards: notes the rules it was sent."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.away: tuple[str, ...] = ()
        self.received = asyncio.Event()

    async def send(self, rules: tuple[RuleFields, ...]) -> tuple[str, ...]:
        self.sent.append([rule.id for rule in rules])
        self.received.set()
        return self.away


def desired_rules(shards: Shards, folder: Path, *rules: dict[str, object]) -> DesiredRules:
    """Return desired rules before they have taken up what was kept."""
    return DesiredRules(configured_rules(*rules), rule_store(folder), RuleSender(shards.send))


def configured_rules(*rules: dict[str, object]) -> ConfiguredRules:
    return configure_rules(rules)
