"""MjpegSource: JPEG pictures in one HTTP response that does not end."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial

from app.cameras.sources.http_client import Answer, HttpClient
from app.cameras.sources.jpeg_splitter import JpegSplitter, Picture
from app.cameras.sources.pacing import Timeline
from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.cameras.sources.still import decode_picture
from app.cameras.sources.timeouts import Timeouts
from app.core.clock import Clock
from app.errors import SourceUnavailable
from app.settings.source_url import SourceUrl


class MjpegSource:
    """Motion JPEG over HTTP, timed by arrival; a picture is decoded where its pixels are asked for.

    It takes over a client whose response has begun.
    """

    live = True

    def __init__(self, url: SourceUrl, clock: Clock, timeouts: Timeouts, client: HttpClient, answer: Answer) -> None:
        self._url = url
        self._clock = clock
        self._timeouts = timeouts
        self._client = client
        self._is_multipart = answer.media_type.startswith("multipart/")
        self._splitter = JpegSplitter()
        self._pictures: deque[Picture] = deque()
        self._timeline = Timeline()
        self._arrived_s: float | None = None
        self._interrupted = threading.Event()
        self._picture: Picture | None = None
        self._captured = Capture(0, 0.0)
        self._index = -1
        self._taken = 0
        self.over = False
        """Whether the response came to its end."""

    def feed(self, data: bytes) -> None:
        """Take bytes of the body that were read already."""
        self._pictures.extend(self._splitter.feed(data))
        if data.startswith(b"--"):
            self._is_multipart = True

    def open(self) -> None:
        """Wait for the first picture.

        Raises:
            SourceUnavailable: none comes.
        """
        self._fill(self._timeouts.open_s)
        self._client.set_timeout(self._timeouts.read_s)

    def first_of_a_still(self) -> bytes | None:
        """Return the picture where it is the only one: the address answers each request with one picture.

        Where neither type nor length says so, the next bytes of the response, or its end, do.

        Raises:
            SourceUnavailable: the response broke off.
        """
        if self._is_multipart:
            return None
        if not self._client.is_over and len(self._pictures) == 1:
            self._fill(self._timeouts.read_s, wanted=2)
        if len(self._pictures) == 1 and (self.over or self._client.is_over):
            return self._pictures[0].data
        return None

    def grab(self) -> FrameTime | None:
        """Wait for the next picture.

        Raises:
            SourceUnavailable: it ended, broke, or gave no picture within its time-out.
        """
        if not self._pictures:
            self._fill(self._timeouts.read_s)
        if self._interrupted.is_set():
            return None
        self._picture, self._captured = self._pictures.popleft(), Capture.now(self._clock)
        self._index += 1
        arrived_s = self._captured.monotonic
        passed_s = 0.0 if self._arrived_s is None else arrived_s - self._arrived_s
        self._arrived_s = arrived_s
        return FrameTime(self._index, self._timeline.place(None, passed_s))

    def retrieve(self) -> RawFrame:
        """Return the picture; it is decoded where it is encoded or shrunk."""
        assert self._picture is not None, "grab() comes first"
        picture = self._picture
        return RawFrame(
            partial(decode_picture, self._url, picture.data),
            self._captured,
            lambda: picture.data,
            damaged=not picture.whole,
        )

    def interrupt(self) -> None:
        """End the wait for the next picture at once."""
        self._interrupted.set()
        self._client.interrupt()

    def close(self) -> None:
        """Disconnect."""
        self._picture = None
        self._client.close()

    def _fill(self, limit_s: float, wanted: int = 1) -> None:
        latest = self._clock.monotonic() + limit_s
        while len(self._pictures) < wanted and not self._interrupted.is_set():
            data = self._client.read()
            if not data:
                self.over = True
                if self._interrupted.is_set() or self._pictures:
                    return
                raise SourceUnavailable(f"{self._url} ended")
            self._pictures.extend(self._splitter.feed(data))
            if not self._pictures and self._clock.monotonic() > latest:
                raise SourceUnavailable(f"{self._url} gave no frame for {limit_s:g} s")
