"""FleetConfiguration: which cameras are configured, by settings and ``user_config``, while the system runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import SettingsError
from app.fleet.cameras_file import POLL_S, CamerasFileWatcher
from app.settings.camera_lists import CameraListSource, ConfiguredCameras
from app.settings.live import configured_budget_ms, configured_camera_list

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class ConfiguredDefaults:
    """What the settings say where ``user_config`` says nothing."""

    source: CameraListSource
    """Where the cameras are configured."""
    budget_ms: int
    """The latency budget of every frame."""
    cameras_by_environment: bool
    """Whether ``SIGHTLINE_CAMERAS`` named the source, which overrides ``user_config``."""
    budget_by_environment: bool
    """Whether ``SIGHTLINE_LATENCY_BUDGET_MS`` gave the budget, which overrides ``user_config``."""


class FleetConfiguration:
    """Applies ``user_config`` and follows the cameras file that it, or the settings, name. For one event loop.

    A mistake in either is logged and changes nothing.
    """

    def __init__(
        self,
        defaults: ConfiguredDefaults,
        environment: Mapping[str, str],
        *,
        apply_cameras: Callable[[ConfiguredCameras], Awaitable[None]],
        apply_budget: Callable[[int], Awaitable[None]],
        poll_s: float = POLL_S,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            defaults: what the settings say.
            environment: the values of ``${VARIABLES}``.
            apply_cameras: awaited with the configured cameras, at first and whenever they have changed.
            apply_budget: awaited with the latency budget in milliseconds, at each ``user_config``.
            poll_s: seconds between two reads of a cameras file.
        """
        self._defaults = defaults
        self._environment = environment
        self._apply_cameras = apply_cameras
        self._apply_budget = apply_budget
        self._poll_s = poll_s
        self._lock = asyncio.Lock()
        self._watcher = CamerasFileWatcher(defaults.source, environment)
        self._following: asyncio.Task[None] | None = None
        self._user_config_trouble = ""
        self._received = asyncio.Event()

    @property
    def trouble(self) -> str:
        """Why what is configured now is not in force; empty: it is."""
        return self._user_config_trouble or self._watcher.trouble

    async def reconfigure(self, user_config: Any) -> None:
        """Apply a ``user_config``; its mistakes are logged, never raised."""
        self._user_config_trouble = ""
        defaults = self._defaults
        try:
            source = configured_camera_list(
                user_config, defaults.source, by_environment=defaults.cameras_by_environment
            )
            budget_ms = configured_budget_ms(
                user_config, defaults.budget_ms, by_environment=defaults.budget_by_environment
            )
        except SettingsError as error:
            self._user_config_trouble = str(error)
            logger.error("cameras: the new configuration is refused and nothing changes: %s", error)
        else:
            self._warn_of_overridden(user_config or {})
            await self._apply_budget(budget_ms)
            await self._follow(source)
        self._received.set()

    async def start(self, patience_s: float) -> None:
        """Wait for the first ``user_config``, at most ``patience_s`` seconds; without one apply the settings."""
        try:
            await asyncio.wait_for(self._received.wait(), patience_s)
        except TimeoutError:
            await self._follow(self._defaults.source)

    def close(self) -> None:
        """Stop following the cameras file."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, source: CameraListSource) -> None:
        async with self._lock:
            self.close()
            self._watcher = CamerasFileWatcher(source, self._environment)
            configured = await asyncio.to_thread(self._watcher.read)
            if configured is not None:
                await self._apply_cameras(configured)
            self._following = asyncio.get_running_loop().create_task(
                self._watcher.follow(self._apply_cameras, self._poll_s)
            )

    def _warn_of_overridden(self, user_config: Mapping[str, Any]) -> None:
        for key, variable, overrides in (
            ("cameras", "SIGHTLINE_CAMERAS", self._defaults.cameras_by_environment),
            ("latency_budget_ms", "SIGHTLINE_LATENCY_BUDGET_MS", self._defaults.budget_by_environment),
        ):
            if overrides and user_config.get(key) is not None:
                logger.warning("%s is set, and overrides user_config.%s", variable, key)
