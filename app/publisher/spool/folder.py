"""What may be asked of all spools of a folder while they are in use, of however many shards they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Literal

from app.errors import SpoolUnavailable
from app.publisher.spool import file
from app.publisher.spool.layout import hold, read_layout, spools_in
from app.publisher.spool.rows import Quarantined, SpoolAccounts


def quarantined(root: Path) -> list[Quarantined]:
    """Read the quarantine, oldest first.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    with _spools(root) as folders:
        found = [each for folder in folders for each in file.quarantined(folder)]
    return found if len(folders) == 1 else sorted(found, key=lambda each: each.at_ns)


def ask_quarantine(root: Path, action: Literal["resend", "drop"], event_ids: Sequence[str]) -> int:
    """Ask the publishers to send events again, or to drop them; no ids: all. Return how many that are.

    They do it within seconds, or when they next run.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be written.
    """
    with _spools(root) as folders:
        return sum(file.ask_quarantine(folder, action, event_ids) for folder in folders)


def read_accounts(root: Path) -> SpoolAccounts:
    """Read the numbers of all shards together; of several each at its own instant.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    with _spools(root) as folders:
        parts = [file.read_accounts(folder) for folder in folders]
    oldest = [part.oldest_at_ns for part in parts if part.oldest_at_ns is not None]
    sums = {
        field.name: sum(getattr(part, field.name) for part in parts)
        for field in fields(SpoolAccounts)
        if field.name not in ("oldest_at_ns", "refusal", "channels")
    }
    refusal = next((part.refusal for part in parts if part.refusal), "")
    return SpoolAccounts(**sums, oldest_at_ns=min(oldest, default=None), refusal=refusal)


@contextlib.contextmanager
def _spools(root: Path) -> Iterator[list[Path]]:
    """Return the folders of all spools, and keep them where they are."""
    if not root.is_dir():
        raise SpoolUnavailable(f"there is no spool in {str(root)!r}")
    try:
        with hold(root, alone=False):
            if not read_layout(root).settled:
                raise SpoolUnavailable(
                    f"the spools in {str(root)!r} are being moved to another number of shards; the next start ends that"
                )
            folders = spools_in(root)
            if not folders:
                raise SpoolUnavailable(f"there is no spool in {str(root)!r}")
            yield folders
    except OSError as error:
        raise SpoolUnavailable(f"the spools in {str(root)!r} cannot be read: {error.strerror}") from None
