"""EvidenceFolder: the files of the evidence spool: written whole, and durable once the call returns.

The folder is flat: a key's slashes are written ``~``, which no part of a key has. A clip that is still being recorded
lies as a journal of its pictures, with the suffix ``.pictures``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from app.core.files import sync

JOURNAL = ".pictures"
_TEMPORARY = ".part"


class EvidenceFolder:
    """Files by key. Thread-safe: each file is written by one thread."""

    def __init__(self, root: Path) -> None:
        """Use a folder, which :meth:`make` makes."""
        self._root = root

    def make(self) -> None:
        """Make the folder where it is missing.

        Raises:
            OSError: it cannot be made.
        """
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, key: str) -> Path:
        """Return where a key's bytes are, or would be."""
        return self._root / key.replace("/", "~")

    def journal(self, key: str) -> Path:
        """Return where the pictures of a clip that is being recorded are, or would be."""
        return self._root / (key.replace("/", "~") + JOURNAL)

    def write(self, key: str, data: bytes) -> None:
        """Write a key's bytes; a reader finds all of them or none.

        Raises:
            OSError: they cannot be written; nothing is left of them.
        """
        self.write_file(self.path(key), data)

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a file of this folder durably: its content is flushed to the disk, then its name.

        Raises:
            OSError: it cannot be written; nothing is left of it.
        """
        with self.replacing(path) as part, part.open("wb") as file:
            file.write(data)

    @contextlib.contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """Yield a path for the content of a file of this folder, which takes the file's place, durably, at the end.

        Raises:
            OSError: it cannot be written; nothing is left of it.
        """
        part = path.with_name(path.name + _TEMPORARY)
        try:
            yield part
            sync(part)
            part.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        sync(self._root)

    def read(self, key: str) -> bytes | None:
        """Return a key's bytes; ``None`` where they are not here."""
        try:
            return self.path(key).read_bytes()
        except OSError:
            return None

    def size(self, key: str) -> int | None:
        """Return how many bytes a key has, of its clip's pictures where those are being recorded; ``None``: none."""
        for path in (self.path(key), self.journal(key)):
            with contextlib.suppress(OSError):
                return path.stat().st_size
        return None

    def remove(self, key: str) -> None:
        """Remove all that is here of a key."""
        for path in (self.path(key), self.journal(key)):
            with contextlib.suppress(OSError):
                path.unlink()

    def remove_journal(self, key: str) -> None:
        """Remove the pictures of a clip whose film is here."""
        with contextlib.suppress(OSError):
            self.journal(key).unlink()

    def found(self) -> Iterator[str]:
        """Yield the keys of which there is something, a journal alone included; remove what was half written."""
        found = set()
        for path in self._root.iterdir():
            if path.name.endswith(_TEMPORARY):
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            found.add(path.name.removesuffix(JOURNAL).replace("~", "/"))
        yield from sorted(found)
