"""OverrideStore: the file in which changes made at run time outlive the system."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.files import replace_file
from app.errors import ChangeNotKept, SettingsError
from app.fleet.overrides import Override, Overrides
from app.settings.cameras import CameraSettings, camera_of

FILE = "cameras.json"
VERSION = 1
"""Of the file's structure."""


class OverrideStore:
    """One folder's file ``cameras.json``, owned by one running system at a time.

    It holds addresses with their passwords, so only its owner may read it (mode 0600). It is replaced as a whole: a
    reader, or a crash at any moment, finds the old one or the new one.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock: int | None = None

    def own(self) -> bool:
        """Take the folder, until :meth:`close` or the end of this process; tell whether it is ours now.

        Raises:
            ChangeNotKept: it cannot be used.
        """
        if self._lock is None:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = _locked(self.path.with_suffix(".lock"))
            except OSError as error:
                raise ChangeNotKept(f"{str(self.path.parent)!r} cannot be used: {_reason(error)}") from None
        return self._lock is not None

    def load(self) -> Overrides:
        """Read them; none where there is no file.

        Raises:
            ChangeNotKept: it cannot be read, is damaged, or of another version.
        """
        try:
            content = json.loads(self.path.read_text())
        except FileNotFoundError:
            return Overrides()
        except (OSError, ValueError) as error:
            raise self._unreadable(_reason(error) if isinstance(error, OSError) else "it is damaged") from None
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise self._unreadable(f"it is not of version {VERSION}")
        try:
            return Overrides({camera_id: _change(camera_id, kept) for camera_id, kept in content["cameras"].items()})
        except (KeyError, TypeError, AttributeError, SettingsError):
            raise self._unreadable("it is damaged") from None

    def save(self, changes: Overrides) -> None:
        """Write them; on return they are on the disk.

        Raises:
            ChangeNotKept: they could not be written; what was there before still is.
        """
        cameras = {camera_id: _kept(change) for camera_id, change in changes.by_id.items()}
        text = json.dumps({"version": VERSION, "cameras": cameras}, indent=1)
        try:
            replace_file(self.path, text)
        except OSError as error:
            raise ChangeNotKept(f"{str(self.path)!r} cannot be written: {_reason(error)}") from None

    def close(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _unreadable(self, why: str) -> ChangeNotKept:
        return ChangeNotKept(f"{str(self.path)!r} cannot be read: {why}; mend it, or move it away to begin anew")


def describe_overrides(folder: Path) -> str:
    """Tell in some words which changes the next start will find; nothing where there are none."""
    try:
        count = len(OverrideStore(folder).load().by_id)
    except ChangeNotKept as error:
        return f" (changes made at run time are not taken up: {error})"
    return f" (with {count} changed at run time, kept in {folder / FILE})" if count else ""


def _locked(path: Path) -> int | None:
    """Open and lock a file; none where another process has it."""
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


def _kept(change: Override) -> dict[str, Any]:
    return {"over": change.over, "wanted": None if change.wanted is None else _fields(change.wanted)}


def _fields(camera: CameraSettings) -> dict[str, Any]:
    fields = camera.model_dump(mode="json", exclude={"id", "url"})
    return {**fields, "url": camera.url.written()}


def _change(camera_id: str, kept: Mapping[str, Any]) -> Override:
    over, fields = kept["over"], kept["wanted"]
    if not isinstance(over, str | None):
        raise TypeError("no fingerprint")
    return Override(None if fields is None else camera_of({**fields, "id": camera_id}), over)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
