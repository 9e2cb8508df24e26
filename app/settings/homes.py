"""The folders that lie in the user's home where nothing else is set; nothing is looked up before one is asked for.

A container's user often has no home: ``HOME`` is unset and the user id has no passwd entry, or ``HOME`` is ``/``.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_state_path

from app.errors import SettingsError
from app.settings.environment import process_environment


def user_state() -> Path:
    """Return the folder of this user's state: ``sightline`` in ``XDG_STATE_HOME``, else ``~/.local/state/sightline``.

    Raises:
        SettingsError: there is no home directory, and ``XDG_STATE_HOME`` is not set.
    """
    if not _has_folder("XDG_STATE_HOME"):
        raise SettingsError(
            "there is no home directory for state: set SIGHTLINE_STATE_DIR and SIGHTLINE_SPOOL_DIR to two folders"
        )
    return user_state_path("sightline")


def user_cache() -> Path:
    """Return the folder of this user's cache: ``sightline`` in ``XDG_CACHE_HOME``, else ``~/.cache/sightline``.

    Raises:
        SettingsError: there is no home directory, and ``XDG_CACHE_HOME`` is not set.
    """
    if not _has_folder("XDG_CACHE_HOME"):
        raise SettingsError("there is no home directory to keep models in: give a file in DETECTOR_MODEL")
    return user_cache_path("sightline")


def _has_folder(variable: str) -> bool:
    """Return whether a variable of the XDG base directory specification is set, or there is a home."""
    return Path(process_environment().get(variable, "")).is_absolute() or _has_home()


def _has_home() -> bool:
    try:
        home = Path.home()
    except RuntimeError:
        return False
    if not home.is_absolute() or home == Path("/"):
        return False
    # A passwd entry may name a folder that is not there and that this user cannot make (/nonexistent).
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    return there == home or os.access(there, os.W_OK)
