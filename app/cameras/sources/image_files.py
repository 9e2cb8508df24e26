"""ImageFolder and ImageReader: the image files of a folder, a glob or a path, as they come, change and go."""

from __future__ import annotations

import bisect
import glob
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.cameras.sources.still import decode_still, is_complete
from app.core.clock import Clock
from app.settings.source_url import IMAGE_SUFFIXES

_LIST_EVERY_S = 1.0
_LIST_SHARE = 0.05
"""Listing takes at most this share of the time: a folder of 100,000 files takes a second."""
_BEING_WRITTEN_NS = 2_000_000_000
"""A file that lacks its end is taken as it is once nobody has written to it for so long."""

_Key = list[tuple[int, int, str]]


class ImageFolder:
    """The image files of a path, in natural order of their names, listed again about once a second."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._monotonic = clock.monotonic
        self._keys: list[_Key] = []
        self._due_s = 0.0
        self.files: tuple[Path, ...] = ()

    def list(self) -> bool:
        """List the files now; return whether they are others than before."""
        began = self._monotonic()
        keyed = sorted((_natural(file), file) for file in _listed(self._path))
        before, self.files = self.files, tuple(file for _, file in keyed)
        self._keys = [key for key, _ in keyed]
        now = self._monotonic()
        self._due_s = now + max(_LIST_EVERY_S, (now - began) / _LIST_SHARE)
        return self.files != before

    def list_if_due(self) -> bool:
        """List the files where the last list is old; return whether they are others than before."""
        return self._monotonic() >= self._due_s and self.list()

    def position_after(self, file: Path) -> int:
        """Return the position of the first file behind one that may be gone."""
        return bisect.bisect_right(self._keys, _natural(file))


@dataclass(frozen=True, eq=False)
class _Kept:
    file: Path
    version: tuple[int, int, int]
    image: NDArray[np.uint8]


class ImageReader:
    """Reads image files; one that is being written is not there yet, or still as it was."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: _Kept | None = None
        self.unreadable: list[str] = []
        """Names of files that cannot be read, each listed once."""
        self._known_unreadable: set[Path] = set()

    def read(self, file: Path, *, keep: bool) -> NDArray[np.uint8] | None:
        """Read an image upright (EXIF), as (H, W, 3) uint8 BGR; ``None`` where that cannot be.

        With ``keep`` it is read again only when the file has changed, and while the new one is not complete the one
        before is returned.
        """
        kept = self._kept if keep and self._kept is not None and self._kept.file == file else None
        before = None if kept is None else kept.image
        try:
            status = file.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if kept is not None and kept.version == version:
                return kept.image
            data = np.fromfile(file, dtype=np.uint8)
        except FileNotFoundError:
            return before  # the next list shows whether it is gone
        except OSError:
            self._note(file)
            return before
        if 0 <= self._clock.wall_ns() - status.st_mtime_ns < _BEING_WRITTEN_NS and not is_complete(data.data):
            return before
        image = decode_still(data)
        if image is None:
            if before is None:
                self._note(file)
            return before
        if keep:
            self._kept = _Kept(file, version, image)
        return image

    def forget(self) -> None:
        """Release the image that is kept."""
        self._kept = None

    def _note(self, file: Path) -> None:
        if file not in self._known_unreadable:
            self._known_unreadable.add(file)
            self.unreadable.append(file.name)


def _listed(path: str) -> list[Path]:
    place = Path(path)
    try:
        if place.is_dir():
            return [file for file in place.iterdir() if _is_image(file)]
        if place.is_file():
            return [place]
        return [file for file in map(Path, glob.glob(path, recursive=True)) if _is_image(file)]  # noqa: PTH207 - may be absolute
    except OSError:  # the folder vanished, or may not be read
        return []


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()


def _natural(file: Path) -> _Key:
    """Return a sort key by which ``frame2`` comes before ``frame10``."""
    parts = re.split(r"(\d+)", str(file).lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
