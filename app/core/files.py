"""Small state files: replaced as a whole, and durable once the call returns."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Replace a file's content atomically and durably; make the file where it is missing.

    A reader, and whoever starts after a crash or a loss of power, finds the old content or the new one, never a part
    of either: the text is written to a file beside it, flushed to the disk and renamed over it, and then the folder's
    entry is flushed (rename(2) is atomic, fsync(2) alone does not cover the folder). Concurrent calls do not mix; the
    last one remains.

    Args:
        path: the file; its folder exists. Only its owner may read it afterwards (mode 0600).
        text: the content, written as UTF-8.

    Raises:
        OSError: it cannot be written. The file has its old content; only where the folder itself could not be flushed
            may it have the new one.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file's content, or the entries of a folder, to the disk.

    Raises:
        OSError: it cannot be opened, or not be flushed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
