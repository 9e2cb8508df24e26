"""VideoSource: a recorded video, shown in real time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.cameras.sources.decoder_choice import DecoderChoice
from app.cameras.sources.ffmpeg import DecodedFrame, VideoDecoder
from app.cameras.sources.pacing import LATE_S, SLIP_S, Pacer, Timeline
from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.core.clock import Clock
from app.errors import SourceEnded, SourceUnavailable
from app.settings.source_url import SourceUrl

_STREAM_JUMP_S = 2.0
"""A longer step of a stream is a part that was missed: it is not waited for."""


class VideoSource:
    """A video file, any address with a known end, or a stream that comes in segments, shown in real time.

    It is paced by its own timestamps on our monotonic clock. Frames are decoded in order, as codecs require, but their
    pixels are converted only where they are encoded. A frame more than 0.1 s late is skipped; a recording more than 1 s
    late (the machine is too slow for it) goes on from where it is.
    """

    live = False

    def __init__(
        self,
        url: SourceUrl,
        address: str,
        clock: Clock,
        options: Mapping[str, str] | None = None,
        *,
        open_s: float | None = None,
        read_s: float | None = None,
        is_stream: bool = False,
        choice: DecoderChoice | None = None,
    ) -> None:
        """Make one that is not opened.

        Args:
            url: the address as it is shown.
            address: what FFmpeg opens.
            clock: the clocks.
            options: FFmpeg's options.
            open_s: the limit of opening, in seconds; ``None``: there is none.
            read_s: the limit between two frames, in seconds; ``None``: there is none.
            is_stream: whether it has no end, as a live playlist: a late frame delays those that follow, rather than
                being skipped, since a segment that comes late must not cost pictures.
            choice: of the decoder; ``None``: the CPU.
        """
        self._url = url
        self._clock = clock
        self._decoder = VideoDecoder(url, address, options or {}, open_s, read_s, choice=choice)
        self._pacer = Pacer(clock)
        self._read_s = read_s
        self._is_stream = is_stream
        self._timeline = Timeline(jump_s=_STREAM_JUMP_S) if is_stream else Timeline()
        self._frames: Iterator[DecodedFrame | None] = iter(())
        self._frame: DecodedFrame | None = None
        self._captured = Capture(0, 0.0)
        self._index = -1

    def open(self) -> None:
        """Open the recording.

        Raises:
            SourceUnavailable: it cannot be opened, or is no video.
        """
        self._decoder.open()
        self._frames = self._decoder.frames()

    def grab(self) -> FrameTime | None:
        """Decode up to the next frame that is due, and wait for it.

        Raises:
            SourceUnavailable: nothing in it can be decoded.
            SourceEnded: it is over, and does not loop.
        """
        latest = None if self._read_s is None else self._clock.monotonic() + self._read_s
        while not self._pacer.interrupted:
            frame = self._next()
            if frame is None:
                if latest is not None and self._clock.monotonic() > latest:
                    raise SourceUnavailable(f"{self._url} gave no frame for {self._read_s:g} s")
                continue
            self._index += 1
            time_s = self._timeline.place(frame.stamp_s, self._decoder.step_s)
            if self._is_over(time_s):
                continue
            if not self._pacer.wait_for(time_s):
                return None
            self._frame, self._captured = frame, Capture.now(self._clock)
            return FrameTime(self._index, time_s)
        return None

    def retrieve(self) -> RawFrame:
        """Return the frame; it is converted where it is encoded."""
        assert self._frame is not None, "grab() comes first"
        return RawFrame(self._frame.pixels, self._captured, self._frame.jpeg)

    def interrupt(self) -> None:
        """End the wait for the next frame."""
        self._pacer.interrupt()

    def close(self) -> None:
        """Close the file."""
        self._frame, self._frames = None, iter(())
        self._decoder.close()

    def _is_over(self, time_s: float) -> bool:
        late_s = self._pacer.lateness(time_s)
        if late_s > (LATE_S if self._is_stream else SLIP_S):
            self._pacer.slip_to(time_s)
            return False
        return late_s > LATE_S

    def _next(self) -> DecodedFrame | None:
        try:
            return next(self._frames)
        except StopIteration:
            self._rewind()
            return None

    def _rewind(self) -> None:
        if self._is_stream:
            raise SourceUnavailable(f"{self._url} ended")
        if self._index < 0:
            raise SourceUnavailable(f"{self._url} holds no frame that can be decoded")
        if not self._url.loop:
            raise SourceEnded(f"{self._url} is over")
        # Opened anew, since not every format can seek; the decoder starts clean.
        self.close()
        self._timeline.restart()
        self.open()
