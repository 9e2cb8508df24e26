"""OverrideStore: the file that keeps the changes of cameras, or of rules, made at run time across restarts."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from app.core.files import replace_file
from app.core.read_failure import read_failure
from app.errors import ChangeNotKept, SettingsError
from app.fleet.overrides import Override, Overrides
from app.settings.cameras import CameraSettings, camera_of
from app.settings.configured import E
from app.settings.rule_lists import parse_rule
from app.settings.rules import RuleFields

VERSION = 1
"""Version of the files' structure."""


@dataclass(frozen=True)
class StoredForm(Generic[E]):
    """How entries of one kind are stored."""

    kind: str
    """What they are, in the plural: the name of their file, and the key in it."""
    fields: Callable[[E], dict[str, Any]]
    """Returns the fields of an entry, without its id, for JSON."""
    entry: Callable[[Mapping[str, Any]], E]
    """Returns the entry with these fields; raises ``SettingsError`` where one is wrong."""


class OverrideStore(Generic[E]):
    """The file ``cameras.json``, or ``rules.json``, of one folder, which one running system at a time holds.

    It may hold addresses with their passwords, so only its owner may read it (mode 0600). It is replaced atomically
    (:func:`~app.core.files.replace_file`).
    """

    def __init__(self, folder: Path, form: StoredForm[E]) -> None:
        self.path = folder / f"{form.kind}.json"
        self._form = form
        self._lock: int | None = None

    def acquire(self) -> bool:
        """Lock the folder until :meth:`close` or the end of this process; return whether this object holds it now.

        Raises:
            ChangeNotKept: the folder cannot be used.
        """
        if self._lock is None:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = _locked(self.path.with_suffix(".lock"))
            except OSError as error:
                raise ChangeNotKept(f"{str(self.path.parent)!r} cannot be used: {read_failure(error)}") from None
        return self._lock is not None

    def load(self) -> Overrides[E]:
        """Return the stored overrides; none where there is no file.

        Raises:
            ChangeNotKept: the file cannot be read, is damaged, or has another version.
        """
        try:
            content = json.loads(self.path.read_text())
        except FileNotFoundError:
            return Overrides()
        except (OSError, ValueError) as error:
            raise self._unreadable(read_failure(error) if isinstance(error, OSError) else "it is damaged") from None
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise self._unreadable(f"its version is not {VERSION}")
        try:
            entries = content[self._form.kind].items()
            return Overrides({entry_id: self._override(entry_id, stored) for entry_id, stored in entries})
        except (KeyError, TypeError, AttributeError, SettingsError):
            raise self._unreadable("it is damaged") from None

    def save(self, overrides: Overrides[E]) -> None:
        """Write the overrides; on return they are on the disk.

        Raises:
            ChangeNotKept: they could not be written; the file is as before.
        """
        stored = {entry_id: self._stored(override) for entry_id, override in overrides.by_id.items()}
        text = json.dumps({"version": VERSION, self._form.kind: stored}, indent=1)
        try:
            replace_file(self.path, text)
        except OSError as error:
            raise ChangeNotKept(f"{str(self.path)!r} cannot be written: {read_failure(error)}") from None

    def close(self) -> None:
        """Release the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _unreadable(self, why: str) -> ChangeNotKept:
        return ChangeNotKept(f"{str(self.path)!r} cannot be read: {why}; repair it, or move it away to start anew")

    def _stored(self, override: Override[E]) -> dict[str, Any]:
        desired = override.desired
        return {"over": override.fingerprint, "wanted": None if desired is None else self._form.fields(desired)}

    def _override(self, entry_id: str, stored: Mapping[str, Any]) -> Override[E]:
        fingerprint, fields = stored["over"], stored["wanted"]
        if not isinstance(fingerprint, str | None):
            raise TypeError("not a fingerprint")
        return Override(None if fields is None else self._form.entry({**fields, "id": entry_id}), fingerprint)


def camera_store(folder: Path) -> OverrideStore[CameraSettings]:
    """Return the store of the changes of cameras in a folder."""
    return OverrideStore(folder, StoredForm("cameras", _camera_fields, camera_of))


def rule_store(folder: Path) -> OverrideStore[RuleFields]:
    """Return the store of the changes of rules in a folder."""
    return OverrideStore(folder, StoredForm("rules", _rule_fields, parse_rule))


def describe_overrides(store: OverrideStore[E]) -> str:
    """Return a phrase on the overrides that the next start will load; empty where there are none."""
    try:
        count = len(store.load().by_id)
    except ChangeNotKept as error:
        return f" (changes made at run time are not loaded: {error})"
    return f" (with {count} changed at run time, kept in {store.path})" if count else ""


def _locked(path: Path) -> int | None:
    """Open and lock a file, and return its descriptor; ``None`` where another process has locked it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock


def _camera_fields(camera: CameraSettings) -> dict[str, Any]:
    fields = camera.model_dump(mode="json", exclude={"id", "url"})
    return {**fields, "url": camera.url.written()}


def _rule_fields(rule: RuleFields) -> dict[str, Any]:
    return rule.model_dump(mode="json", exclude={"id"}, by_alias=True, exclude_unset=True)
