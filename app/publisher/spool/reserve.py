"""Reserve: room on the disk kept back, so that acknowledgements can still be written down when it is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

RESERVE = "reserve"
RESERVE_BYTES = 4 * 1024 * 1024


class Reserve:
    """A file of a fixed size beside a spool."""

    def __init__(self, folder: Path) -> None:
        """Prepare; nothing is taken until :meth:`hold`."""
        self._path = folder / RESERVE
        self.missing = False
        """Whether there was no room for it, or it was given up."""

    def hold(self) -> bool:
        """Take it (back); return whether there was room for it."""
        try:
            if not self._path.exists() or self._path.stat().st_size < RESERVE_BYTES:
                with self._path.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            self.give_up()
        else:
            self.missing = False
        return not self.missing

    def give_up(self) -> None:
        """Make room."""
        self.missing = True
        with contextlib.suppress(OSError):
            self._path.unlink()
