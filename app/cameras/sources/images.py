"""ImagesSource: a folder of images, a glob, or one image."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.cameras.sources.image_files import ImageFolder, ImageReader
from app.cameras.sources.pacing import LATE_S, Pacer
from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.core.clock import Clock
from app.errors import SourceEnded, SourceUnavailable
from app.settings.source_url import IMAGE_SUFFIXES, SourceUrl

_log = logging.getLogger(__name__)


class ImagesSource:
    """Images in natural order of their names, ``fps`` a second: the camera's own rate, each sampled once.

    ``index`` counts the files that were passed, and rises on through the loops; an unreadable image keeps its
    place and is left out. Files that come, change and go are followed as it runs: after a change it goes on behind the
    file that was shown last. Where time is short the show gets slower: any image may be the one that counts.
    """

    live = False

    def __init__(self, url: SourceUrl, fps: float, clock: Clock) -> None:
        self._url = url
        self._fps = fps
        self._clock = clock
        self._pacer = Pacer(clock)
        self._folder = ImageFolder(url.path, clock)
        self._reader = ImageReader(clock)
        self._position = 0
        self._last: Path | None = None
        self._image: NDArray[np.uint8] | None = None
        self._captured = Capture(0, 0.0)
        self._index = -1
        self._shown = -1

    def open(self) -> None:
        """List the images.

        Raises:
            SourceUnavailable: there are none.
        """
        self._folder.list()
        self._refuse_nothing()

    def grab(self) -> FrameTime | None:
        """Read the next image ahead, and wait until it is due.

        Raises:
            SourceUnavailable: none of the images can be read, or there are none any more.
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
        """Return the image."""
        assert self._image is not None, "grab() comes first"
        return RawFrame.of(self._image, self._captured)

    def interrupt(self) -> None:
        """End the wait for the next image."""
        self._pacer.interrupt()

    def close(self) -> None:
        """Release the images."""
        self._image = None
        self._reader.forget()

    def _next(self) -> NDArray[np.uint8]:
        self._follow(self._folder.list_if_due())
        for _ in range(len(self._folder.files)):
            self._index += 1
            self._last = file = self._following()
            image = self._reader.read(file, keep=len(self._folder.files) == 1)
            if image is not None:
                self._report_unreadable()
                return image
        raise SourceUnavailable(f"{self._url} holds no image that can be read")

    def _following(self) -> Path:
        """Return the next file, and go behind it."""
        if self._position >= len(self._folder.files) and not self._url.loop:
            self._follow(self._folder.list())
            if self._position >= len(self._folder.files):
                raise SourceEnded(f"{self._url} is over")
        self._position %= len(self._folder.files)
        self._position += 1
        return self._folder.files[self._position - 1]

    def _follow(self, is_changed: bool) -> None:
        if is_changed:
            self._refuse_nothing()
            self._position = 0 if self._last is None else self._folder.position_after(self._last)

    def _refuse_nothing(self) -> None:
        if not self._folder.files:
            raise SourceUnavailable(f"{self._url} holds no image ({', '.join(IMAGE_SUFFIXES)})")

    def _report_unreadable(self) -> None:
        """Report them once another can be read: where none can, that is an error, each time it is opened again."""
        names = self._reader.unreadable
        if names:
            named, more = ", ".join(names[:5]), len(names) - 5
            _log.warning(
                "%s: cannot be read and is left out: %s%s", self._url, named, f" and {more} more" if more > 0 else ""
            )
            names.clear()
