"""FleetConfiguration: which cameras and rules are configured, while the system runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from app.errors import SettingsError
from app.fleet.list_watcher import POLL_S, ListWatcher
from app.settings.camera_lists import CameraListSource, ConfiguredCameras
from app.settings.configured import Configured, E, ListSource
from app.settings.live import configured_budget_ms, configured_camera_list, configured_rule_list
from app.settings.rule_lists import ConfiguredRules, RuleListSource

logger = logging.getLogger("ray.serve")

OVERRIDING = {
    "SIGHTLINE_CAMERAS": "cameras",
    "SIGHTLINE_RULES": "rules",
    "SIGHTLINE_LATENCY_BUDGET_MS": "latency_budget_ms",
}
"""Variables that override ``user_config``, and the key that each overrides."""


@dataclass(frozen=True)
class ConfiguredDefaults:
    """What the settings say where ``user_config`` says nothing."""

    source: CameraListSource
    """Where the cameras are configured."""
    rules: RuleListSource
    """Where the rules are configured."""
    budget_ms: int
    """The latency budget of every frame."""
    by_environment: frozenset[str]
    """Those of ``OVERRIDING`` that are set."""


class FollowedList(Generic[E]):
    """Follows the entries of one kind from wherever they are configured; a mistake in them changes nothing.

    For one event loop.
    """

    def __init__(
        self,
        source: ListSource[E],
        environment: Mapping[str, str],
        apply: Callable[[Configured[E]], Awaitable[None]],
        poll_s: float,
    ) -> None:
        """Prepare; nothing is read yet. ``apply`` is awaited at first and whenever the entries have changed."""
        self._environment = environment
        self._apply = apply
        self._poll_s = poll_s
        self._lock = asyncio.Lock()
        self._watcher = ListWatcher(source, environment)
        self._following: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str:
        """Why what is configured now is not in force; empty: it is."""
        return self._watcher.trouble

    async def follow(self, source: ListSource[E]) -> None:
        """Apply what a source says now, and follow that source alone."""
        async with self._lock:
            self.close()
            self._watcher = ListWatcher(source, self._environment)
            configured = await asyncio.to_thread(self._watcher.read)
            if configured is not None:
                await self._apply(configured)
            self._following = asyncio.get_running_loop().create_task(self._watcher.follow(self._apply, self._poll_s))

    def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()


class FleetConfiguration:
    """Applies ``user_config`` and follows the files of cameras and rules that it, or the settings, name.

    A mistake in any of them is logged and changes nothing. For one event loop.
    """

    def __init__(
        self,
        defaults: ConfiguredDefaults,
        environment: Mapping[str, str],
        *,
        apply_cameras: Callable[[ConfiguredCameras], Awaitable[None]],
        apply_rules: Callable[[ConfiguredRules], Awaitable[None]],
        apply_budget: Callable[[int], Awaitable[None]],
        poll_s: float = POLL_S,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            defaults: what the settings say.
            environment: the values of ``${VARIABLES}``.
            apply_cameras: awaited with the configured cameras, at first and whenever they have changed.
            apply_rules: awaited with the configured rules, likewise.
            apply_budget: awaited with the latency budget in milliseconds, at each ``user_config``.
            poll_s: seconds between two reads of a file.
        """
        self._defaults = defaults
        self._cameras = FollowedList(defaults.source, environment, apply_cameras, poll_s)
        self._rules = FollowedList(defaults.rules, environment, apply_rules, poll_s)
        self._apply_budget = apply_budget
        self._user_config_trouble = ""
        self._received = asyncio.Event()

    @property
    def trouble(self) -> str:
        """Why what is configured now of the cameras, or ``user_config``, is not in force; empty: it is."""
        return self._user_config_trouble or self._cameras.trouble

    @property
    def rules_trouble(self) -> str:
        """Why what is configured now of the rules is not in force; empty: it is."""
        return self._rules.trouble

    async def reconfigure(self, user_config: Any) -> None:
        """Apply a ``user_config``; its mistakes are logged, never raised."""
        self._user_config_trouble = ""
        defaults, fixed = self._defaults, self._defaults.by_environment
        try:
            cameras = configured_camera_list(user_config, defaults.source, by_environment="SIGHTLINE_CAMERAS" in fixed)
            rules = configured_rule_list(user_config, defaults.rules, by_environment="SIGHTLINE_RULES" in fixed)
            budget_ms = configured_budget_ms(
                user_config, defaults.budget_ms, by_environment="SIGHTLINE_LATENCY_BUDGET_MS" in fixed
            )
        except SettingsError as error:
            self._user_config_trouble = str(error)
            logger.error("cameras: the new configuration is refused and nothing changes: %s", error)
        else:
            self._warn_of_overridden(user_config or {})
            await self._apply_budget(budget_ms)
            await self._rules.follow(rules)
            await self._cameras.follow(cameras)
        self._received.set()

    async def start(self, patience_s: float) -> None:
        """Wait for the first ``user_config``, at most ``patience_s`` seconds; without one apply the settings."""
        try:
            await asyncio.wait_for(self._received.wait(), patience_s)
        except TimeoutError:
            await self._rules.follow(self._defaults.rules)
            await self._cameras.follow(self._defaults.source)

    def close(self) -> None:
        """Stop following the files."""
        self._cameras.close()
        self._rules.close()

    def _warn_of_overridden(self, user_config: Mapping[str, Any]) -> None:
        for variable, key in OVERRIDING.items():
            if variable in self._defaults.by_environment and user_config.get(key) is not None:
                logger.warning("%s is set, and overrides user_config.%s", variable, key)
