"""LiveSource and HttpSource: streams that come over the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from av.video.frame import VideoFrame

from app.cameras.clock import Clock
from app.cameras.sources.decoding import VideoDecoder, pixels, stamp_of
from app.cameras.sources.pacing import Timeline
from app.cameras.sources.source import Capture, FrameTime, RawFrame, Source
from app.cameras.sources.video import VideoSource
from app.errors import SourceUnavailable
from app.source_url import SourceKind, SourceUrl

OPEN_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 5.0
"""PyAV was seen to take twice as long as it is asked to."""
_LOW_DELAY: Mapping[str, str] = {"fflags": "nobuffer", "max_delay": "200000", "probesize": "500000"}
_RTSP: Mapping[str, str] = {**_LOW_DELAY, "rtsp_transport": "tcp"}
_STAMPED_BY_COUNT = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "image2pipe", "jpeg_pipe"})
"""Formats without a clock of their own: FFmpeg counts their frames as if 25 came a second."""


class LiveSource:
    """An RTSP or HTTP stream, drained as it comes: what is not sampled is decoded and forgotten."""

    live = True

    def __init__(self, url: SourceUrl, clock: Clock, stall_s: float = READ_TIMEOUT_S) -> None:
        self._url = url
        self._clock = clock
        self._stall_s = stall_s
        options = _RTSP if url.kind is SourceKind.RTSP else _LOW_DELAY
        self._decoder = VideoDecoder(url, url.reveal(), options, OPEN_TIMEOUT_S, stall_s)
        self._interrupted = threading.Event()
        self._timeline = Timeline(jump_s=10.0)
        self._by_arrival = False
        self._frames: Iterator[VideoFrame | None] = iter(())
        self._frame: VideoFrame | None = None
        self._captured = Capture(0, 0.0)
        self._index = -1

    @property
    def is_recording(self) -> bool:
        """Whether what was opened has a known end."""
        return self._decoder.is_recording

    def open(self) -> None:
        """Connect.

        Raises:
            SourceUnavailable: nobody answers, access is refused, or there is no video.
        """
        self._decoder.open(low_delay=True)
        self._by_arrival = bool(_STAMPED_BY_COUNT & set(self._decoder.format_name.split(",")))
        self._frames = self._decoder.frames()

    def grab(self) -> FrameTime | None:
        """Wait for the next frame.

        Raises:
            SourceUnavailable: it ended, broke, or gave no frame within its time-out.
        """
        latest = self._clock.monotonic() + self._stall_s
        for frame in self._frames:
            if self._interrupted.is_set():
                return None
            if frame is not None:
                return self._taken(frame)
            if self._clock.monotonic() > latest:
                raise SourceUnavailable(f"{self._url} gave no frame for {self._stall_s:g} s")
        raise SourceUnavailable(f"{self._url} ended")

    def retrieve(self) -> RawFrame:
        """Convert the frame."""
        assert self._frame is not None, "grab() comes first"
        return RawFrame(image=pixels(self._frame), captured=self._captured)

    def interrupt(self) -> None:
        """End ``grab`` at the next packet, or when the read time-out ends the wait for it."""
        self._interrupted.set()

    def close(self) -> None:
        """Disconnect."""
        self._frame, self._frames = None, iter(())
        self._decoder.close()

    def _taken(self, frame: VideoFrame) -> FrameTime:
        self._index += 1
        self._frame, self._captured = frame, Capture.now(self._clock)
        stamp_s = stamp_of(frame)
        # A stream that lacks timestamps once is timed by arrival from then on.
        self._by_arrival = self._by_arrival or stamp_s is None
        if self._by_arrival:
            stamp_s = self._captured.monotonic
        return FrameTime(self._index, self._timeline.place(stamp_s, self._decoder.step_s))


class HttpSource:
    """``http(s)://``: a stream without an end (MJPEG, say) or a recording; opening it tells."""

    def __init__(self, url: SourceUrl, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._inner: Source = LiveSource(url, clock)
        self._interrupted = False

    @property
    def live(self) -> bool:
        """Whether it turned out to be a stream without an end."""
        return self._inner.live

    def open(self) -> None:
        """Connect, and see what it is.

        Raises:
            SourceUnavailable: nobody answers, access is refused, or there is no video.
        """
        live = LiveSource(self._url, self._clock)
        self._inner = live
        live.open()
        if live.is_recording:
            live.close()
            self._inner = VideoSource(self._url, self._url.reveal(), self._clock, timeout_s=OPEN_TIMEOUT_S)
            self._inner.open()
        if self._interrupted:
            self._inner.interrupt()

    def grab(self) -> FrameTime | None:
        """Wait for the next frame."""
        return self._inner.grab()

    def retrieve(self) -> RawFrame:
        """Convert the frame."""
        return self._inner.retrieve()

    def interrupt(self) -> None:
        """End the wait for the next frame."""
        self._interrupted = True
        self._inner.interrupt()

    def close(self) -> None:
        """Disconnect."""
        self._inner.close()
