"""Paths: what comes with Sightline, and where the files and folders that settings name are found.

A process of Ray works in the folder in which Ray was started, not in that of its user's shell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

ROOT = Path(__file__).resolve().parents[2]
"""The checkout (or, installed as a wheel, the folder that holds the packages)."""
CONFIGS = ROOT / "configs"
_bundled = CONFIGS / "models" / "street.pt"
DEMO_MODEL = _bundled if _bundled.is_file() else ROOT / "app" / "_bundled" / "models" / "street.pt"
"""The model that recognises the simulated street."""
DEMO_CAMERAS = "configs/cameras.yaml"


def _folder(value: Path) -> Path:
    """Make a folder absolute, where the settings are resolved: processes on other nodes work in other folders."""
    try:
        return value.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"there is no home for {value.parts[0]}; allowed is a folder's path") from None


Folder = Annotated[Path, AfterValidator(_folder)]
"""A folder that need not be there yet."""


def find_file(path: str | Path) -> Path:
    """Find a file named in a setting: as given, below the working directory, else below the checkout."""
    try:
        given = Path(path).expanduser()
        if given.is_absolute() or given.exists():
            return given
        return ROOT / given if (ROOT / given).exists() else given
    except (OSError, RuntimeError):  # too long for a path, or the home of nobody
        return Path(path)


def where_looked(path: str | Path) -> str:
    """Return where :func:`find_file` looked for a file in vain, as the end of a sentence; empty for an absolute path.

    A process of Ray's works in the folder in which Ray was started, and not in that of the shell that deploys.
    """
    if Path(path).is_absolute() or str(path).startswith("~"):
        return ""
    return f"; it was looked for in {Path.cwd()} and in {ROOT}: give its absolute path"
