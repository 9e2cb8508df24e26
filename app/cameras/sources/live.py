"""LiveSource and HttpSource: streams that come over the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from app.cameras.sources.ffmpeg import Shot, VideoDecoder
from app.cameras.sources.pacing import Timeline
from app.cameras.sources.source import Capture, FrameTime, RawFrame, Source
from app.cameras.sources.video import VideoSource
from app.core.clock import Clock
from app.errors import SourceUnavailable
from app.settings.source_url import SourceKind, SourceUrl, Transport

OPEN_TIMEOUT_S = 4.0
"""For the handshake, and once more for the first packet."""
READ_TIMEOUT_S = 6.0
"""Between two packets, and between two frames: a little more than a camera's ``stall_s``, so that our own
watchdog tells of a stall, and FFmpeg's time-out then ends the read that hangs."""
KEYFRAME_S = 20.0
"""For the first frame, while packets come: cameras that save bits send a key frame every 10 s or so."""
_HTTP: Mapping[str, str] = {"fflags": "nobuffer", "probesize": "500000", "fpsprobesize": "0"}
# What an RTSP server tells of its stream is enough: FFmpeg would else watch it for seconds to learn its rate,
# longer than any time-out at 1 fps. Sound is not even asked for.
_RTSP: Mapping[str, str] = {
    "max_delay": "200000",
    "probesize": "32",
    "analyzeduration": "1",
    "fpsprobesize": "0",
    "allowed_media_types": "video",
}
_TRANSPORTS: Mapping[Transport, Mapping[str, str]] = {
    Transport.ANY: {"rtsp_transport": "tcp+udp", "rtsp_flags": "prefer_tcp"},
    Transport.TCP: {"rtsp_transport": "tcp"},
    Transport.UDP: {"rtsp_transport": "udp"},
}
_STAMPED_BY_COUNT = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "image2pipe", "jpeg_pipe"})
"""Formats without a clock of their own: FFmpeg counts their frames as if 25 came a second."""

_STILLS = "_pipe"
"""How FFmpeg's names of formats end that are pictures in a row, or just one: ``jpeg_pipe``, ``png_pipe``."""


class LiveSource:
    """An RTSP or HTTP stream, drained as it comes: what is not sampled is decoded and forgotten.

    RTSP carries its pictures over TCP, or over UDP where the server refuses TCP or ``?transport=udp`` asks for
    it. Frames are timed by the stream's own timestamps; where these lack, stand still, jump or start over, and in
    formats without any, by their arrival.
    """

    live = True

    def __init__(self, url: SourceUrl, clock: Clock, read_s: float = READ_TIMEOUT_S) -> None:
        self._url = url
        self._clock = clock
        self._read_s = read_s
        options = {**_RTSP, **_TRANSPORTS[url.transport]} if url.kind is SourceKind.RTSP else _HTTP
        self._decoder = VideoDecoder(url, url.reveal(), options, OPEN_TIMEOUT_S, read_s)
        self._interrupted = threading.Event()
        self._timeline = Timeline(jump_s=10.0)
        self._has_stamps = True
        self._stamp_s: float | None = None
        self._arrived_s: float | None = None
        self._frames: Iterator[Shot | None] = iter(())
        self._first: Shot | None = None
        self._frame: Shot | None = None
        self._captured = Capture(0, 0.0)
        self._index = -1

    @property
    def is_recording(self) -> bool:
        """Whether what was opened has a known end."""
        return self._decoder.is_recording

    def open(self) -> None:
        """Connect, and wait for the first frame: the stream may have to come to its next key frame first.

        Raises:
            SourceUnavailable: nobody answers, access is refused, or there is no video.
        """
        self._decoder.open(low_delay=True)
        self._has_stamps = not _STAMPED_BY_COUNT & set(self._decoder.format_name.split(","))
        self._frames = self._decoder.frames()
        if not self.is_recording:
            self._first = self._next(KEYFRAME_S)
            if self._has_stamps and self._first is not None and self._first.stamp_s is None:
                # FFmpeg gives the first frame of an RTSP stream without its time: the second begins the timeline.
                self._first = self._next(self._read_s)

    def grab(self) -> FrameTime | None:
        """Wait for the next frame.

        Raises:
            SourceUnavailable: it ended, broke, or gave no frame within its time-out.
        """
        frame, self._first = self._first or self._next(self._read_s), None
        return None if frame is None or self._interrupted.is_set() else self._taken(frame)

    def retrieve(self) -> RawFrame:
        """Give the frame; it is converted where it is encoded."""
        assert self._frame is not None, "grab() comes first"
        return RawFrame(self._frame.pixels, self._captured, self._frame.jpeg)

    def interrupt(self) -> None:
        """End ``grab`` at the next packet, or when the read time-out ends the wait for it."""
        self._interrupted.set()

    def close(self) -> None:
        """Disconnect."""
        self._first, self._frame, self._frames = None, None, iter(())
        self._decoder.close()

    def _next(self, patience_s: float) -> Shot | None:
        """Give the next frame; ``None`` where it was interrupted."""
        latest = self._clock.monotonic() + patience_s
        for frame in self._frames:
            if frame is not None:
                return frame
            if self._interrupted.is_set():
                return None
            if self._clock.monotonic() > latest:
                raise SourceUnavailable(f"{self._url} gave no frame for {patience_s:g} s")
        if self._index < 0 and self._decoder.format_name.endswith(_STILLS):
            raise SourceUnavailable(f"{self._url} is a single picture: name the camera's video or MJPEG address")
        raise SourceUnavailable(f"{self._url} ended")

    def _taken(self, frame: Shot) -> FrameTime:
        self._index += 1
        self._frame, self._captured = frame, Capture.now(self._clock)
        arrived_s = self._captured.monotonic
        passed_s = 0.0 if self._arrived_s is None else arrived_s - self._arrived_s
        self._arrived_s = arrived_s
        return FrameTime(self._index, self._timeline.place(self._new_stamp(frame), passed_s))

    def _new_stamp(self, frame: Shot) -> float | None:
        """Give the frame's own time, where it has one that says something."""
        if not self._has_stamps:
            return None
        before, self._stamp_s = self._stamp_s, frame.stamp_s
        return None if self._stamp_s == before else self._stamp_s


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
        if self._interrupted:  # by a stop that came before there was anything to tell
            live.interrupt()
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
