"""The layout of a spool folder: where the shards' spools lie in it, and the lock under which that may change.

One publisher has its spool in the folder itself. Of several each has one in a folder below it, ``shard-2-of-4``. How
many there are is written in the file ``layout``; without it there is one. The file is replaced as a whole, and is what
says which spools count: see :mod:`app.publisher.spool.resharding` for the steps of a move.

The lock is on the folder itself (``flock`` of its descriptor), so that it leaves no file: shared for whoever takes the
layout as it is and opens a spool, alone for whoever changes it. It is given up with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from app.core.files import replace_file, sync
from app.errors import SpoolUnavailable
from app.publisher.shards import Shard
from app.publisher.spool.file import FILE

LAYOUT = "layout"
STAGING = "resharding"
"""The folder in which new spools are built."""
PATIENCE_S = 3.0
"""How long the lock is waited for: others hold it while they open their spools."""
_POLL_S = 0.02


@dataclass(frozen=True)
class Layout:
    """What the file says."""

    shards: int = 1
    leaving: tuple[str, ...] = ()
    """Folders of spools that were moved, and are to be removed."""
    arriving: bool = False
    """The new spools lie in the staging folder, or did: they are to be moved out of it."""

    @property
    def settled(self) -> bool:
        """Whether no move is unfinished."""
        return not (self.leaving or self.arriving)


def folder_of(root: Path, shard: Shard) -> Path:
    """Return the folder of a shard's spool."""
    return root if shard.alone else root / f"shard-{shard.part}"


def spools_in(root: Path) -> list[Path]:
    """Return the folders in which there is a spool, whoever made it; those of a staging folder do not count."""
    return [folder for folder in (root, *sorted(root.glob("shard-*-of-*"))) if (folder / FILE).is_file()]


def read_layout(root: Path) -> Layout:
    """Read what the file says.

    Raises:
        SpoolUnavailable: its contents are not understood.
    """
    try:
        values = json.loads((root / LAYOUT).read_bytes())
        layout = Layout(int(values["shards"]), tuple(map(str, values["leaving"])), bool(values["arriving"]))
    except FileNotFoundError:
        return Layout()
    except (ValueError, TypeError, KeyError):
        raise SpoolUnavailable(
            f"{str(root / LAYOUT)!r}, which says where the spools are, cannot be understood; nothing was changed"
        ) from None
    return layout


def write_layout(root: Path, layout: Layout) -> None:
    """Replace the file, at once and for good; without it there is one publisher.

    Raises:
        OSError: it cannot be written; it stays as it was.
    """
    path = root / LAYOUT
    if layout == Layout():
        path.unlink(missing_ok=True)
        sync(root)
    else:
        replace_file(path, json.dumps(asdict(layout)))


@contextlib.contextmanager
def hold(root: Path, *, alone: bool) -> Iterator[None]:
    """Hold the layout as it is, with others; or alone, to change it.

    Raises:
        SpoolUnavailable: others hold it, and go on doing so.
        OSError: there is no such folder.
    """
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + PATIENCE_S
        while not _locked(opened, fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
            if time.monotonic() > end:
                raise SpoolUnavailable(f"the spools in {str(root)!r} are being opened or moved by another publisher")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(opened)


def _locked(opened: int, how: int) -> bool:
    try:
        fcntl.flock(opened, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
