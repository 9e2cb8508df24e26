"""List file: a YAML file of one key with a list, such as a cameras file and a rules file."""

from __future__ import annotations

from pathlib import Path

import yaml

from app.core.one_line import one_line
from app.core.read_failure import read_failure
from app.errors import SettingsError


def read_list_file(kind: str, file: Path) -> str:
    """Return the text of the file of one kind of entries, such as ``cameras``.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{kind} file {str(file)!r} cannot be read: {read_failure(error)}") from None


def entries_of(kind: str, text: str, file: Path) -> list[object]:
    """Return the entries in the text of such a file, which messages name.

    Raises:
        SettingsError: it is not YAML, or holds anything but the one key and its list.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{kind} file {str(file)!r} is not YAML: {one_line(error)}") from None
    entries = content.get(kind) if isinstance(content, dict) and set(content) == {kind} else None
    if not isinstance(entries, list):
        raise SettingsError(f"{kind} file {str(file)!r} must hold one key, {kind}, with a list")
    return entries
