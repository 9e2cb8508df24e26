"""Which packages of the whole install are missing: an install for cameras on the edge has only some."""

from __future__ import annotations

import importlib.util

WHOLE = ("ray", "torch", "ultralytics", "kafka", "fastapi")
"""Packages that an install for cameras on the edge lacks (``configs/edge/requirements.txt``)."""


def missing_packages() -> list[str]:
    """Return the packages of the whole install that are missing; none is imported for that."""
    return [name for name in WHOLE if importlib.util.find_spec(name) is None]
