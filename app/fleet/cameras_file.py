"""CamerasFileWatcher: the cameras file is read again whenever it has changed, while the system runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from app.errors import SettingsError
from app.settings.camera_lists import CameraListSource, ConfiguredCameras
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger("ray.serve")

LOOK_S = 1.0
"""How often the file is looked at. A change is taken once two looks found the same: an editor may still be writing."""


@dataclass(frozen=True)
class _Found:
    text: str = field(repr=False)
    error: str = ""
    """Why it could not be read."""


class CamerasFileWatcher:
    """Reads the configured cameras where they are written, again and again; a mistake changes nothing.

    What ``${VARIABLES}`` stand for is taken from one environment, that of the process it runs in.
    """

    def __init__(self, given: CameraListSource, environment: Mapping[str, str]) -> None:
        self._given = given
        self._environment = environment
        self._taken: _Found | None = None
        self._seen: _Found | None = None
        self.trouble = ""
        """Why what is written now is not taken; empty: it is."""

    def read(self) -> ConfiguredCameras | None:
        """Read what is written now; none where it is wrong, which is logged."""
        return self._take(self._find())

    def look(self) -> ConfiguredCameras | None:
        """Look; give the cameras where they have changed and rest, else none."""
        found = self._find()
        rests, self._seen = found == self._seen, found
        return self._take(found) if rests and found != self._taken else None

    async def follow(self, changed: Callable[[ConfiguredCameras], Awaitable[None]], look_s: float = LOOK_S) -> None:
        """Look until cancelled, and tell of each change."""
        untaken = TroubleLog(logger, "the configured cameras cannot be followed", level=logging.ERROR)
        while True:
            await asyncio.sleep(look_s)
            try:
                found = await asyncio.to_thread(self.look)
                if found is not None:
                    await changed(found)
            except Exception as error:  # noqa: BLE001 - the next change may be taken
                untaken.again(type(error).__name__, error=error)

    def _find(self) -> _Found:
        try:
            return _Found(self._given.text())
        except SettingsError as error:
            return _Found("", str(error))

    def _take(self, found: _Found) -> ConfiguredCameras | None:
        self._taken = found
        try:
            if found.error:
                raise SettingsError(found.error)
            cameras = self._given.parse(found.text, self._environment)
        except SettingsError as error:
            self.trouble = str(error)
            logger.error("cameras: what is configured now is not taken, all stays as it is: %s", error)
            return None
        self.trouble = ""
        return cameras
