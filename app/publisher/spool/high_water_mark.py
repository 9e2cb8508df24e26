"""HighWaterMark: how many events were committed, written beside the spool: so that a loss at its end is noticed.

A write-ahead log whose last pages were destroyed looks to SQLite like one that ended before them
(https://www.sqlite.org/walformat.html, "Recovery algorithm"): the commits in them are lost silently.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import time
import zlib
from pathlib import Path

MARK, LOG, BEFORE = "accepted", "spool.db-wal", "spool.db-wal.before"
_RECORD = struct.Struct("<QI")
"""The count, and its CRC-32."""


class HighWaterMark:
    """The count beside a spool in a folder; made before the spool is opened, since opening uses its log up."""

    def __init__(self, folder: Path) -> None:
        """Keep the log as it was found.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder = folder
        self._file = os.open(folder / MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        log = folder / LOG
        if log.is_file() and log.stat().st_size:
            with contextlib.suppress(OSError):  # a full disk keeps no copy, and loses nothing by that
                shutil.copyfile(log, folder / BEFORE)

    def read(self) -> int:
        """Return the count; 0 where there is none that can be read."""
        record = os.pread(self._file, _RECORD.size, 0)
        if len(record) != _RECORD.size:
            return 0
        count, check = _RECORD.unpack(record)
        return int(count) if zlib.crc32(record[:8]) == check else 0

    def write(self, count: int) -> None:
        """Overwrite the count; that takes no room, and a disk that is read-only leaves it as it was."""
        value = struct.pack("<Q", count)
        with contextlib.suppress(OSError):
            os.pwrite(self._file, _RECORD.pack(count, zlib.crc32(value)), 0)

    def settle(self, *, damaged: bool) -> str:
        """Drop the copy of the log, or keep it for inspection; return its name then, else an empty text."""
        before = self._folder / BEFORE
        if not before.exists():
            return ""
        if not damaged:
            before.unlink()
            return ""
        kept = before.with_name(f"{LOG}.damaged-{time.time_ns()}")
        before.rename(kept)
        return kept.name

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
