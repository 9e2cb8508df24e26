"""Paths of the files that come with Sightline, and how a path in a setting is resolved.

The working directory of a Ray process is that in which Ray was started, not that of its user's shell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

ROOT = Path(__file__).resolve().parents[2]
"""The checkout (or, installed as a wheel, the folder that holds the packages)."""
IS_CHECKOUT = (ROOT / "serve_config.yaml").is_file()
BUNDLED = ROOT if IS_CHECKOUT else ROOT / "app" / "_bundled"
"""Where the files are that come with Sightline: in the checkout, or in the installed package."""
CONFIGS = BUNDLED / "configs"
DEMO_MODEL = CONFIGS / "models" / "street.pt"
"""The bundled model of the simulated street."""
DEMO_CAMERAS = "configs/cameras.yaml"
DEMO_RULES = "configs/rules.yaml"


def _folder(value: Path) -> Path:
    """Return a folder as an absolute path: processes on other nodes have other working directories."""
    try:
        return value.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"there is no home for {value.parts[0]}; allowed is a folder's path") from None


Folder = Annotated[Path, AfterValidator(_folder)]
"""A folder that need not exist yet; an absolute path once the settings are resolved."""


def find_file(path: str | Path) -> Path:
    """Return the path of a file named in a setting.

    As given, below the working directory, else of the files that come with Sightline.
    """
    try:
        given = Path(path).expanduser()
        if given.is_absolute() or given.exists():
            return given
        return BUNDLED / given if (BUNDLED / given).exists() else given
    except (OSError, RuntimeError):  # too long for a path, or the home of an unknown user
        return Path(path)


def where_looked(path: str | Path) -> str:
    """Return where :func:`find_file` did not find a file, as the end of a sentence; empty for an absolute path."""
    if Path(path).is_absolute() or str(path).startswith("~"):
        return ""
    return f"; it was looked for in {Path.cwd()} and in {BUNDLED}: give its absolute path"
