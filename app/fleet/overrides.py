"""Overrides: the changes of cameras, or of rules, made at run time, applied to what is configured.

The latest change of an entry wins. An override holds, across restarts too, until the configuration of its entry differs
from what it was when the override was made.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic

from app.settings.cameras import CameraSettings
from app.settings.configured import Configured, E


class Origin(enum.StrEnum):
    """Where the settings of a camera, or of a rule, come from."""

    CONFIGURED = "configured"
    """A file, the environment, or the Serve configuration."""
    ADDED = "added"
    """Added at run time."""
    CHANGED = "changed"
    """Configured, and changed at run time."""


@dataclass(frozen=True)
class Desired(Generic[E]):
    """One camera that should run, or one rule that should hold."""

    settings: E
    """As configured or requested: of a camera without a frame rate where none was given."""
    origin: Origin


DesiredCamera = Desired[CameraSettings]
"""One camera that should run."""


@dataclass(frozen=True)
class Override(Generic[E]):
    """A change of one entry, made at run time."""

    desired: E | None
    """``None``: the entry is removed."""
    fingerprint: str | None
    """Of the entry's configuration when the override was made (``Configured.fingerprints``); ``None``: it was not
    configured."""


@dataclass(frozen=True)
class Overrides(Generic[E]):
    """All overrides of entries of one kind, by id."""

    by_id: Mapping[str, Override[E]] = field(default_factory=dict)

    def applied_to(self, configured: Configured[E]) -> tuple[Desired[E], ...]:
        """Return the desired entries: the configured ones in their order, then those added."""
        configured_ones = [self._desired(entry) for entry in configured.entries]
        added = [
            Desired(override.desired, Origin.ADDED)
            for entry_id, override in self.by_id.items()
            if override.desired is not None and entry_id not in configured.fingerprints
        ]
        return (*(entry for entry in configured_ones if entry is not None), *added)

    def in_force(self, configured: Configured[E]) -> Overrides[E]:
        """Return those whose entry's configuration has not changed since."""
        now = configured.fingerprints
        kept = {name: override for name, override in self.by_id.items() if now.get(name) == override.fingerprint}
        return Overrides(kept)

    def with_entry(self, entry: E, configured: Configured[E]) -> Overrides[E]:
        """Return them with an entry added or changed."""
        if entry in configured.entries:
            return self._without(entry.id)
        return self._with(entry.id, Override(entry, configured.fingerprints.get(entry.id)))

    def without_entry(self, entry_id: str, configured: Configured[E]) -> Overrides[E]:
        """Return them with an entry removed."""
        now = configured.fingerprints.get(entry_id)
        return self._without(entry_id) if now is None else self._with(entry_id, Override(None, now))

    def _desired(self, entry: E) -> Desired[E] | None:
        override = self.by_id.get(entry.id)
        if override is None:
            return Desired(entry, Origin.CONFIGURED)
        return None if override.desired is None else Desired(override.desired, Origin.CHANGED)

    def _with(self, entry_id: str, override: Override[E]) -> Overrides[E]:
        return Overrides({**self.by_id, entry_id: override})

    def _without(self, entry_id: str) -> Overrides[E]:
        return Overrides({other: override for other, override in self.by_id.items() if other != entry_id})
