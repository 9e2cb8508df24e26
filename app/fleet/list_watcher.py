"""ListWatcher: configured cameras, or rules, are read again whenever their file has changed, while the system runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic

from app.errors import SettingsError
from app.settings.configured import Configured, E, ListSource
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger("ray.serve")

POLL_S = 1.0
"""How often the file is read. A change is accepted once two reads found the same: an editor may still be writing."""


@dataclass(frozen=True)
class _Content:
    text: str = field(repr=False)
    error: str = ""
    """Why the file could not be read."""


class ListWatcher(Generic[E]):
    """Reads the configured entries of one kind again and again; a mistake in them changes nothing.

    ``${VARIABLES}`` are taken from one environment, that of the process it runs in.
    """

    def __init__(self, source: ListSource[E], environment: Mapping[str, str]) -> None:
        self._source = source
        self._environment = environment
        self._parsed: _Content | None = None
        self._last_read: _Content | None = None
        self.trouble = ""
        """Why what is configured now is not accepted; empty: it is."""

    def read(self) -> Configured[E] | None:
        """Return what is configured now; ``None`` where it is wrong, which is logged."""
        return self._parse(self._content())

    def poll(self) -> Configured[E] | None:
        """Read the file; return the entries where they differ from those parsed last and two polls read the same."""
        content = self._content()
        stable, self._last_read = content == self._last_read, content
        return self._parse(content) if stable and content != self._parsed else None

    async def follow(self, changed: Callable[[Configured[E]], Awaitable[None]], poll_s: float = POLL_S) -> None:
        """Poll until cancelled, and await ``changed`` with each change; an error of it is logged."""
        failures = TroubleLog(logger, f"the configured {self._source.kind} cannot be followed", level=logging.ERROR)
        while True:
            await asyncio.sleep(poll_s)
            try:
                configured = await asyncio.to_thread(self.poll)
                if configured is not None:
                    await changed(configured)
            except Exception as error:  # noqa: BLE001 - the next change may be accepted
                failures.report(type(error).__name__, error=error)

    def _content(self) -> _Content:
        try:
            return _Content(self._source.text())
        except SettingsError as error:
            return _Content("", str(error))

    def _parse(self, content: _Content) -> Configured[E] | None:
        self._parsed = content
        try:
            if content.error:
                raise SettingsError(content.error)
            configured = self._source.parse(content.text, self._environment)
        except SettingsError as error:
            self.trouble = str(error)
            logger.error("%s: the new configuration is refused and nothing changes: %s", self._source.kind, error)
            return None
        self.trouble = ""
        return configured
