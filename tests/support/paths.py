"""The repository's root."""

from __future__ import annotations

from pathlib import Path

from tests.support.idle import pytest_pyfunc_call  # noqa: F401  # a hook

ROOT = Path(__file__).resolve().parents[2]
