"""SnapshotSource: an address that answers each request with one picture, asked at the camera's rate."""

from __future__ import annotations

import threading
from functools import partial

from app.cameras.sources.http_client import NO_ANSWER, Answer, HttpClient
from app.cameras.sources.jpeg_splitter import MOST_BYTES
from app.cameras.sources.pacing import Pacer
from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.cameras.sources.still import JPEG_END, JPEG_START, decode_jpeg, decode_picture, is_picture
from app.cameras.sources.timeouts import Timeouts
from app.core.clock import Clock
from app.errors import SourceUnavailable
from app.settings.source_url import SourceUrl


class SnapshotSource:
    """Asks for a picture at each point of an even grid of ``fps``, over one connection.

    A request names the validators of the last answer (RFC 9110, section 13: ``ETag``, ``Last-Modified``); the answer
    304 is no new frame, and no fault. It is timed by the grid, so that the jitter of requests skips no sample.
    """

    live = False
    """Its silence is watched here, by the time-out of each request: between two requests it has nothing to say."""

    def __init__(
        self, url: SourceUrl, fps: float, clock: Clock, timeouts: Timeouts, client: HttpClient, answer: Answer
    ) -> None:
        self._url = url
        self._fps = fps
        self._clock = clock
        self._timeouts = timeouts
        self._client = client
        self._validators = _validators(answer)
        self._pacer = Pacer(clock)
        self._interrupted = threading.Event()
        self._first: bytes | None = None
        self._data = b""
        self._captured = Capture(0, 0.0)
        self._asked = -1
        self._index = -1

    def begin(self, first: bytes) -> None:
        """Take the picture that the first request was answered with.

        Raises:
            SourceUnavailable: it is no picture.
        """
        self._first = self._checked(first)
        self._client.set_timeout(self._timeouts.read_s)

    def open(self) -> None:
        """Do nothing: the first answer opened it."""

    def grab(self) -> FrameTime | None:
        """Wait until the next request is due, and for a picture that is new.

        Raises:
            SourceUnavailable: the address answers with an error, with no picture, or not at all.
        """
        while True:
            self._asked += 1
            time_s = self._asked / self._fps
            if self._pacer.lateness(time_s) > 0:
                self._pacer.slip_to(time_s)  # a slow answer is not made up for by asking more often
            if not self._pacer.wait_for(time_s):
                return None
            data = self._first if self._first is not None else self._request()
            self._first = None
            if self._interrupted.is_set():
                return None
            if data is not None:
                self._data, self._captured = data, Capture.now(self._clock)
                self._index += 1
                return FrameTime(self._index, time_s)

    def retrieve(self) -> RawFrame:
        """Return the picture; it is decoded where it is encoded or shrunk."""
        data = self._data
        is_cut = data.startswith(JPEG_START) and data.rfind(JPEG_END) < 0
        as_it_came = (lambda: data) if data.startswith(JPEG_START) else None
        return RawFrame(partial(decode_picture, self._url, data), self._captured, as_it_came, damaged=is_cut)

    def interrupt(self) -> None:
        """End the wait for the next picture at once."""
        self._interrupted.set()
        self._pacer.interrupt()
        self._client.interrupt()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def _request(self) -> bytes | None:
        """Return a new picture; ``None`` where it has not changed, or this was interrupted."""
        try:
            answer = self._client.get(self._validators)
            data = self._client.read_all(MOST_BYTES, self._timeouts.read_s)
        except SourceUnavailable:
            if self._interrupted.is_set():
                return None
            raise
        if answer.status == 304:
            return None
        self._validators = _validators(answer)
        return self._checked(data)

    def _checked(self, data: bytes) -> bytes:
        data = data.lstrip(b"\r\n")  # some begin with an empty line
        if not data:
            raise SourceUnavailable(
                f"{self._url} stopped: {NO_ANSWER if self._interrupted.is_set() else 'it is empty'}"
            )
        if not is_picture(data) and decode_jpeg(data) is None:
            raise SourceUnavailable(f"{self._url} answers with something that is no picture")
        return data


def _validators(answer: Answer) -> dict[str, str]:
    """Return the headers of the next request, from those of the last answer."""
    named = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
    return {asked: answer.headers[given] for given, asked in named.items() if answer.headers.get(given)}
