"""ImagesSource: a folder of images, a glob, or one image."""

from __future__ import annotations

import glob
import logging
import re
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from app.cameras.sources.pacing import LATE_S, Pacer
from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.core.clock import Clock
from app.errors import SourceEnded, SourceUnavailable
from app.settings.source_url import IMAGE_SUFFIXES, SourceUrl

_log = logging.getLogger(__name__)


class ImagesSource:
    """Images in natural order of their names, ``fps`` a second: the camera's own rate, each sampled once.

    ``index`` is the image's place in the list, and rises on through the loops; an unreadable image keeps its
    place and is left out. Where time is short the show gets slower: any image may be the one that counts.
    """

    live = False

    def __init__(self, url: SourceUrl, fps: float, clock: Clock) -> None:
        self._url = url
        self._fps = fps
        self._clock = clock
        self._pacer = Pacer(clock)
        self._files: tuple[Path, ...] = ()
        self._unreadable: set[Path] = set()
        self._untold: list[str] = []
        self._only: NDArray[np.uint8] | None = None
        self._image: NDArray[np.uint8] | None = None
        self._captured = Capture(0, 0.0)
        self._index = -1
        self._shown = -1

    def open(self) -> None:
        """List the images.

        Raises:
            SourceUnavailable: there are none.
        """
        self._files = tuple(sorted(_listed(self._url.path), key=_natural))
        if not self._files:
            raise SourceUnavailable(f"{self._url} holds no image ({', '.join(IMAGE_SUFFIXES)})")

    def grab(self) -> FrameTime | None:
        """Read the next image ahead, and wait until it is due.

        Raises:
            SourceUnavailable: none of the images can be read.
            SourceEnded: all were shown, and they do not loop.
        """
        image = self._next()
        self._shown += 1
        time_s = self._shown / self._fps
        if self._pacer.lateness(time_s) > LATE_S:
            self._pacer.slip_to(time_s)
        if not self._pacer.wait_for(time_s):
            return None
        self._image, self._captured = image, Capture.now(self._clock)
        return FrameTime(self._index, time_s)

    def retrieve(self) -> RawFrame:
        """Give the image."""
        assert self._image is not None, "grab() comes first"
        return RawFrame.of(self._image, self._captured)

    def interrupt(self) -> None:
        """End the wait for the next image."""
        self._pacer.interrupt()

    def close(self) -> None:
        """Let the images go."""
        self._files, self._image, self._only = (), None, None

    def _next(self) -> NDArray[np.uint8]:
        for _ in range(len(self._files)):
            self._index += 1
            if self._index >= len(self._files) and not self._url.loop:
                raise SourceEnded(f"{self._url} is over")
            image = self._read(self._files[self._index % len(self._files)])
            if image is not None:
                self._tell_unreadable()
                return image
        raise SourceUnavailable(f"{self._url} holds no image that can be read")

    def _read(self, file: Path) -> NDArray[np.uint8] | None:
        if self._only is not None:
            return self._only
        image = _decoded(file)
        if image is None:
            self._note(file)
        elif len(self._files) == 1:
            self._only = image
        return image

    def _note(self, file: Path) -> None:
        if file not in self._unreadable:
            self._unreadable.add(file)
            self._untold.append(file.name)

    def _tell_unreadable(self) -> None:
        """Told once another can be read: where none can, that is told, each time it is opened again."""
        if self._untold:
            names, more = ", ".join(self._untold[:5]), len(self._untold) - 5
            _log.warning(
                "%s: cannot be read and is left out: %s%s", self._url, names, f" and {more} more" if more > 0 else ""
            )
            self._untold.clear()


def _decoded(file: Path) -> NDArray[np.uint8] | None:
    """Read an image upright (EXIF), as (H, W, 3) uint8 BGR; ``None`` where that cannot be."""
    try:
        data = np.fromfile(file, dtype=np.uint8)
        return cast("NDArray[np.uint8] | None", cv2.imdecode(data, cv2.IMREAD_COLOR)) if data.size else None
    except (OSError, cv2.error):
        return None


def _listed(path: str) -> list[Path]:
    place = Path(path)
    if place.is_dir():
        return [file for file in place.iterdir() if _is_image(file)]
    if place.is_file():
        return [place]
    return [file for file in map(Path, glob.glob(path, recursive=True)) if _is_image(file)]  # noqa: PTH207 - may be absolute


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()


def _natural(file: Path) -> list[tuple[int, int, str]]:
    """Order ``frame2`` before ``frame10``."""
    parts = re.split(r"(\d+)", str(file).lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
