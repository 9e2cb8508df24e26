"""Figures that tests leave for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.idle import pytest_pyfunc_call  # noqa: F401  # a hook


@dataclass
class Table:
    """Where tests leave their figures for people: the file of ``--table``."""

    path: Path | None
    _begun: bool = False

    def write(self, lines: Sequence[str]) -> None:
        """Print some lines, and add them to the file, where one was named."""
        text = "\n".join([*lines, ""])
        print(text)
        if self.path is not None:
            before = self.path.read_text() + "\n" if self._begun else ""
            self.path.write_text(before + text)
            self._begun = True
