"""Epochs: the numbers that the lives of one camera get, rising whatever happens to the clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from app.core.files import replace_file

_log = logging.getLogger(__name__)

MAX_EPOCH = (1 << 64) - 1
"""The largest number that fits into a request."""
OUTDATED_EPOCH = "camera %s: its epoch is older than %d, which is committed; it began by a clock behind; it takes %d"
"""Log message of an owner that has its camera take a higher epoch: camera, committed epoch, higher epoch."""


class Epochs:
    """Numbers the lives of one camera: by the time in milliseconds, but each above the one before.

    The time rises across restarts of everything, but for a clock that is set back. On one machine the last epoch is
    then known from memory, or from a file; wherever it is not, the service refuses the camera's frames with the epoch
    that it has committed, and the owner of the camera takes one above that (:meth:`exceed`).
    """

    def __init__(self, file: Path | None = None, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """Set up.

        Args:
            file: stores the last epoch between two processes; ``None``: this process remembers it.
            wall_ns: nanoseconds since 1970 UTC.
        """
        self._file = file
        self._wall_ns = wall_ns
        self._last = 0

    def begin(self) -> int:
        """Return the epoch of a new life."""
        self._store(max(self._last + 1, self._stored() + 1, self._wall_ns() // 1_000_000))
        return self._last

    def exceed(self, committed: int) -> int | None:
        """Return an epoch above ``committed`` for the present life.

        ``None`` where there is none, or where the file says that a later life of the camera was started on this
        machine: it is that one's to take a higher epoch.
        """
        if committed >= MAX_EPOCH or self._stored() > self._last:
            return None
        self._store(max(self._last, committed) + 1)
        return self._last

    def _stored(self) -> int:
        try:
            return int(self._file.read_text()) if self._file is not None else 0
        except (OSError, ValueError):
            return 0

    def _store(self, epoch: int) -> None:
        self._last = epoch
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._file, f"{epoch}\n")
        except OSError as error:
            _log.warning("the epoch cannot be stored at %s: %s", self._file, error.strerror)
