"""Configured: the entries (cameras, rules) of one configuration; and what a configuration is read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Identified(Protocol):
    """An entry of a configuration: a camera, or a rule."""

    @property
    def id(self) -> str:
        """Unique among the entries of its kind."""


E = TypeVar("E", bound=Identified)


@dataclass(frozen=True)
class Configured(Generic[E]):
    """The entries of one configuration, in their order."""

    entries: tuple[E, ...]
    fingerprints: Mapping[str, str]
    """By id: SHA-256 of the entry as it was written, ``${VARIABLES}`` unexpanded. It shows whether the configuration of
    an entry has changed; a new password in the environment does not change it."""


class ListSource(Protocol[E]):
    """Where the entries of one kind are configured; it is read at the start and again while the system runs."""

    @property
    def kind(self) -> str:
        """What the entries are, in the plural: ``cameras``, ``rules``."""

    def text(self) -> str:
        """Return the text to parse.

        Raises:
            SettingsError: the file cannot be read.
        """

    def parse(self, text: str, environment: Mapping[str, str]) -> Configured[E]:
        """Parse what :meth:`text` returned.

        Raises:
            SettingsError: an entry is wrong; one line, without secrets.
        """


def fingerprint(written: Mapping[str, object]) -> str:
    """Return the SHA-256 of an entry as it was written."""
    return hashlib.sha256(json.dumps(written, sort_keys=True, default=str).encode()).hexdigest()
