"""LiveSource: a stream that FFmpeg reads from the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from app.cameras.sources.authorization import Authorization, why_refused
from app.cameras.sources.damage import enable_log
from app.cameras.sources.decoder_choice import DecoderChoice
from app.cameras.sources.ffmpeg import DecodedFrame, VideoDecoder
from app.cameras.sources.pacing import Timeline
from app.cameras.sources.rtsp_challenge import rtsp_challenges
from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.cameras.sources.timeouts import Timeouts
from app.core.clock import Clock
from app.errors import SourceRefused, SourceUnavailable
from app.settings.source_url import SourceKind, SourceUrl, Transport

STREAM_OPTIONS: Mapping[str, str] = {"probesize": "500000", "fpsprobesize": "0"}
"""FFmpeg's options for a stream over HTTP. Its flag ``nobuffer`` is not set: it loses what was read to find out the
codec, which is the first key frame."""
# What an RTSP server says of its stream is enough: FFmpeg would else watch it for seconds to learn its rate,
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
_BY_FFMPEG = frozenset({"MD5"})
"""The Digest algorithms that FFmpeg knows (libavformat/httpauth.c, which takes MD5-sess too)."""
_STAMPED_BY_COUNT = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "image2pipe", "jpeg_pipe"})
"""Formats without a clock of their own: FFmpeg counts their frames as if 25 came a second."""


class LiveSource:
    """An RTSP or HTTP stream, drained as it comes: what is not sampled is decoded and forgotten.

    RTSP carries its pictures over TCP, or over UDP where the server refuses TCP or ``?transport=udp`` asks for
    it. Frames are timed by the stream's own timestamps; where these lack, stand still, jump or start over, and in
    formats without any, by their arrival.
    """

    live = True

    def __init__(
        self,
        url: SourceUrl,
        clock: Clock,
        timeouts: Timeouts | None = None,
        options: Mapping[str, str] | None = None,
        container: str | None = None,
        choice: DecoderChoice | None = None,
    ) -> None:
        """Make one that is not opened.

        Args:
            url: the address.
            clock: the clocks.
            timeouts: the time-outs; ``None``: those of a camera that does not say its own ``stall_s``.
            options: FFmpeg's options for an HTTP stream; ``None``: those that suit any.
            container: FFmpeg's name of the container format; ``None``: FFmpeg finds it out.
            choice: of the decoder; ``None``: the CPU.
        """
        self._choice = choice
        self._url = url
        self._clock = clock
        self._timeouts = timeouts or Timeouts.of()
        if url.kind is SourceKind.RTSP:
            self._decoder = self._rtsp_decoder(url.transport)
        else:
            self._decoder = VideoDecoder(
                url,
                url.reveal(),
                options or STREAM_OPTIONS,
                self._timeouts.open_s,
                self._timeouts.read_s,
                container,
                choice,
            )
        self._interrupted = threading.Event()
        self._timeline = Timeline(jump_s=10.0)
        self._has_stamps = True
        self._stamp_s: float | None = None
        self._arrived_s: float | None = None
        self._frames: Iterator[DecodedFrame | None] = iter(())
        self._first: DecodedFrame | None = None
        self._frame: DecodedFrame | None = None
        self._captured = Capture(0, 0.0)
        self._index = -1

    @property
    def is_recording(self) -> bool:
        """Whether what was opened has a known end."""
        return self._decoder.is_recording

    def open(self) -> None:
        """Connect, and wait for the first frame: the stream may have to come to its next key frame first.

        Raises:
            SourceRefused: the account is missing or refused.
            SourceUnavailable: nobody answers, or there is no video.
        """
        enable_log()
        self._open_decoder()
        self._has_stamps = not _STAMPED_BY_COUNT & set(self._decoder.format_name.split(","))
        self._frames = self._decoder.frames()
        if not self.is_recording:
            self._first = self._next(self._timeouts.keyframe_s)
            if self._has_stamps and self._first is not None and self._first.stamp_s is None:
                # FFmpeg gives the first frame of an RTSP stream without its time: the second begins the timeline.
                self._first = self._next(self._timeouts.read_s)

    def _open_decoder(self) -> None:
        try:
            self._decoder.open(low_delay=True)
        except SourceRefused as refusal:
            raise SourceRefused(f"{refusal}: {self._why_refused()}") from None
        except SourceUnavailable:
            can_fall_back = self._url.transport is Transport.ANY and not self._url.reveal().startswith("rtsps")
            if not (self._decoder.met_other_transport and can_fall_back):
                raise
            # It was asked for TCP and means UDP: asked for that, it may play.
            self._decoder = self._rtsp_decoder(Transport.UDP)
            self._decoder.open(low_delay=True)

    def _rtsp_decoder(self, transport: Transport) -> VideoDecoder:
        options = {**_RTSP, **_TRANSPORTS[transport]}
        limits = self._timeouts.open_s, self._timeouts.read_s
        return VideoDecoder(self._url, self._url.reveal(), options, *limits, choice=self._choice)

    def _why_refused(self) -> str:
        target = urlsplit(self._url.reveal())
        account = Authorization(unquote(target.username or ""), unquote(target.password or ""))
        is_rtsp = self._url.kind is SourceKind.RTSP
        offered = rtsp_challenges(self._url, self._timeouts.open_s) if is_rtsp else []
        # FFmpeg answers the last Digest, and Basic only where there is none (libavformat/httpauth.c).
        digests = [challenge for challenge in offered if challenge.scheme == "digest"]
        return why_refused(account, digests[-1:] or offered, _BY_FFMPEG)

    def grab(self) -> FrameTime | None:
        """Wait for the next frame.

        Raises:
            SourceUnavailable: it ended, broke, or gave no frame within its time-out.
        """
        frame, self._first = self._first or self._next(self._timeouts.read_s), None
        return None if frame is None or self._interrupted.is_set() else self._taken(frame)

    def retrieve(self) -> RawFrame:
        """Return the frame; it is converted where it is encoded."""
        assert self._frame is not None, "grab() comes first"
        return RawFrame(self._frame.pixels, self._captured, self._frame.jpeg, self._frame.damaged)

    def interrupt(self) -> None:
        """End ``grab`` at the next packet, or when the read time-out ends the wait for it."""
        self._interrupted.set()

    def close(self) -> None:
        """Disconnect."""
        self._first, self._frame, self._frames = None, None, iter(())
        self._decoder.close()

    def _next(self, limit_s: float) -> DecodedFrame | None:
        """Return the next frame; ``None`` where it was interrupted."""
        latest = self._clock.monotonic() + limit_s
        for frame in self._frames:
            if frame is not None:
                return frame
            if self._interrupted.is_set():
                return None
            if self._clock.monotonic() > latest:
                raise SourceUnavailable(f"{self._url} gave no frame for {limit_s:g} s")
        raise SourceUnavailable(f"{self._url} ended")

    def _taken(self, frame: DecodedFrame) -> FrameTime:
        self._index += 1
        self._frame, self._captured = frame, Capture.now(self._clock)
        arrived_s = self._captured.monotonic
        passed_s = 0.0 if self._arrived_s is None else arrived_s - self._arrived_s
        self._arrived_s = arrived_s
        return FrameTime(self._index, self._timeline.place(self._new_stamp(frame), passed_s))

    def _new_stamp(self, frame: DecodedFrame) -> float | None:
        """Return the frame's own time, where it has one that says something."""
        if not self._has_stamps:
            return None
        before, self._stamp_s = self._stamp_s, frame.stamp_s
        return None if self._stamp_s == before else self._stamp_s
