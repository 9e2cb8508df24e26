"""VideoSource: a recorded video, shown in real time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.cameras.sources.ffmpeg import Shot, VideoDecoder
from app.cameras.sources.pacing import LATE_S, SLIP_S, Pacer, Timeline
from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.core.clock import Clock
from app.errors import SourceEnded, SourceUnavailable
from app.settings.source_url import SourceUrl


class VideoSource:
    """A video file (or any address with a known end), paced by its own timestamps on our monotonic clock.

    Frames are decoded in order, as codecs ask for it, but their pixels are converted only in ``retrieve``. A
    frame more than 0.1 s late is skipped; a recording more than 1 s late (the machine is too slow for it)
    goes on from where it is.
    """

    live = False

    def __init__(
        self,
        url: SourceUrl,
        address: str,
        clock: Clock,
        options: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._decoder = VideoDecoder(url, address, options or {}, timeout_s, timeout_s)
        self._pacer = Pacer(clock)
        self._timeline = Timeline()
        self._frames: Iterator[Shot | None] = iter(())
        self._frame: Shot | None = None
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
        while not self._pacer.interrupted:
            frame = self._next()
            if frame is None:
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
        """Give the frame; it is converted where it is encoded."""
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
        if late_s > SLIP_S:
            self._pacer.slip_to(time_s)
            return False
        return late_s > LATE_S

    def _next(self) -> Shot | None:
        try:
            return next(self._frames)
        except StopIteration:
            self._rewind()
            return None

    def _rewind(self) -> None:
        if self._index < 0:
            raise SourceUnavailable(f"{self._url} holds no frame that can be decoded")
        if not self._url.loop:
            raise SourceEnded(f"{self._url} is over")
        # Opened anew, since not every format can seek; the decoder starts clean.
        self.close()
        self._timeline.restart()
        self.open()
