"""Ray's token, for users whose home directory cannot be written.

Ray 2.60 writes the token of a local cluster to ``~/.ray/auth_token`` and fails with a traceback where it cannot: in a
container with a read-only root file system, or under a user id without a home. Ray then reads it from the file that
``RAY_AUTH_TOKEN_PATH`` names, but does not make that file.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from app.core.files import replace_file
from app.errors import SettingsError

PATH = "RAY_AUTH_TOKEN_PATH"
"""The variable that names the file of Ray's token."""
FILE = "ray_auth_token"
"""The file's name in ``SIGHTLINE_STATE_DIR``."""


def asks_for_token(environment: Mapping[str, str]) -> bool:
    """Return whether the cluster that is started here asks for Ray's token, as it does by default."""
    return environment.get("RAY_AUTH_MODE", "token").lower() == "token"


def token_file(environment: Mapping[str, str], state_dir: Path) -> Path | None:
    """Return the file of Ray's token, made where it is missing; ``None`` where Ray itself sees to its token.

    Args:
        environment: of the process that starts Ray.
        state_dir: ``SIGHTLINE_STATE_DIR``, where the file is made if none is named and the home cannot be written.

    Raises:
        SettingsError: the file cannot be written.
    """
    if not asks_for_token(environment) or environment.get("RAY_AUTH_TOKEN"):
        return None
    named = environment.get(PATH)
    if not named and _ray_can_keep_it():
        return None
    file = Path(named) if named else state_dir / FILE
    try:
        if not file.exists() or not file.stat().st_size:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, secrets.token_hex(32))
    except OSError as error:
        raise SettingsError(f"{PATH}: Ray's token cannot be kept in {str(file)!r}: {error.strerror}") from None
    return file


def _ray_can_keep_it() -> bool:
    try:
        file = Path.home() / ".ray" / "auth_token"
        if file.exists():
            return os.access(file, os.R_OK)
    except (OSError, RuntimeError):  # no home, or one that may not be looked into
        return False
    there = next(folder for folder in file.parents if folder.exists())
    return there.is_dir() and os.access(there, os.W_OK)
