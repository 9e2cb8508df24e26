"""Paths of the files that come with Sightline, and how a path in a setting is resolved."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout (or, installed as a wheel, the folder that holds the packages)."""
CONFIGS = ROOT / "configs"
_bundled = CONFIGS / "models" / "street.pt"
DEMO_MODEL = _bundled if _bundled.is_file() else ROOT / "app" / "_bundled" / "models" / "street.pt"
"""The bundled model of the simulated street."""
DEMO_CAMERAS = "configs/cameras.yaml"


def find_file(path: str | Path) -> Path:
    """Return the path of a file named in a setting: as given, below the working directory, else below the checkout."""
    try:
        given = Path(path).expanduser()
        if given.is_absolute() or given.exists():
            return given
        return ROOT / given if (ROOT / given).exists() else given
    except (OSError, RuntimeError):  # too long for a path, or the home of an unknown user
        return Path(path)
