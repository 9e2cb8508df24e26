"""VideoDecoder: the one place that meets PyAV, and turns its errors into ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from app.cameras.sources.http_proxy import proxy_options
from app.errors import SourceUnavailable
from app.settings.environment import process_environment
from app.settings.source_url import SourceUrl

_ORDINARY_FPS = 25.0
_MAX_BROKEN_PACKETS = 250
"""So many undecodable packets in a row are no stream."""
_NO_ANSWER = "no answer within its time-out"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PADDING = 8
"""So many bytes may follow a picture's end: containers pad."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame of a video."""

    stamp_s: float | None
    """Its own timestamp in seconds; none where it lacks."""
    pixels: Callable[[], NDArray[np.uint8]]
    """Gives (H, W, 3) uint8 BGR, upright; in any thread."""
    jpeg: Callable[[], bytes] | None = None
    """Gives the picture as it came, where it came as a JPEG."""


class VideoDecoder:
    """The best video stream of a file or an address, frame by frame.

    Motion JPEG is decoded where a frame's pixels are asked for: each of its pictures stands for itself, so the others
    cost nothing. The first of a stream is decoded by FFmpeg as well, to see that both read it alike, and all of
    them after one that cannot be read.

    PyAV's errors carry the whole address with its password: only their short reason is passed on.
    """

    def __init__(
        self,
        url: SourceUrl,
        address: str,
        options: Mapping[str, str],
        open_s: float | None,
        read_s: float | None,
    ) -> None:
        self._url = url
        self._address = address
        self._options = dict(options)
        self._timeout = None if open_s is None else (open_s, read_s)
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._jpegs = False
        """Whether pictures may be decoded one by one."""

    def open(self, low_delay: bool = False) -> None:
        """Open the address and its best video stream.

        Raises:
            SourceUnavailable: there is nothing, no video, or no way to decode it.
        """
        began = time.monotonic()
        options = self._options | proxy_options(self._address, process_environment())
        try:
            self._container = av.open(self._address, options=options, timeout=self._timeout, metadata_errors="replace")
            best = self._container.streams.best("video")
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            # FFmpeg gives odd reasons where the interrupted one was a handshake ("Operation not permitted").
            why = _NO_ANSWER if self._is_late(began) else reason(error)
            raise SourceUnavailable(f"{self._url} cannot be opened: {why}") from None
        if self._is_late(began):
            # FFmpeg is content with what it saw before it was interrupted: a server that plays, and sends nothing.
            self.close()
            raise SourceUnavailable(f"{self._url} cannot be opened: {_NO_ANSWER}")
        if not isinstance(best, VideoStream):
            self.close()
            raise SourceUnavailable(f"{self._url} holds no video")
        # Slices decode in parallel without holding frames back, as frame threads do.
        # Two threads are enough: cameras are many.
        best.codec_context.thread_count = 2
        if low_delay:
            best.codec_context.flags |= int(av.codec.context.Flags.low_delay)
        self._stream = best
        self._jpegs = False

    def frames(self) -> Iterator[Shot | None]:
        """Give the frames in order of presentation; ``None`` for a packet that completed none.

        Raises:
            SourceUnavailable: it stopped giving packets, or they are garbage.
        """
        assert self._container is not None, "open() comes first"
        assert self._stream is not None, "open() comes first"
        broken, first = 0, self._stream.codec_context.name == "mjpeg"
        try:
            # Every stream's packets: where sound goes on without pictures, the caller must get to see its clock.
            for packet in self._container.demux():
                if self._jpegs and packet.stream_index == self._stream.index and _is_jpeg(packet):
                    yield Shot(_seconds(packet), partial(self._decoded, packet), partial(bytes, packet))
                    continue
                try:
                    frames = packet.decode() if packet.stream_index == self._stream.index else []
                except av.InvalidDataError:
                    broken += 1
                    if broken > _MAX_BROKEN_PACKETS:
                        raise SourceUnavailable(f"{self._url} gives packets that cannot be decoded") from None
                    frames = []
                else:
                    broken = 0 if frames else broken
                pictures = [frame for frame in frames if isinstance(frame, VideoFrame)]
                if first and pictures:
                    first, self._jpegs = False, _is_jpeg(packet) and _same(packet, pictures[0])
                yield from (Shot(_stamp(frame), partial(_converted, frame)) for frame in pictures)
                yield None
        except (av.FFmpegError, OSError) as error:
            raise SourceUnavailable(f"{self._url} stopped: {reason(error)}") from None

    @property
    def format_name(self) -> str:
        """FFmpeg's name of the container format."""
        return self._container.format.name if self._container is not None else ""

    @property
    def is_recording(self) -> bool:
        """Whether it has a known end."""
        return self._container is not None and bool(self._container.duration and self._container.duration > 0)

    @property
    def step_s(self) -> float:
        """The ordinary time between two frames, in seconds."""
        rate = self._stream and (self._stream.average_rate or self._stream.guessed_rate)
        return 1.0 / float(rate) if rate and 0.01 <= rate <= 1000 else 1.0 / _ORDINARY_FPS

    def _decoded(self, packet: Packet[Any]) -> NDArray[np.uint8]:
        image = _read_jpeg(packet)
        if image is None:
            self._jpegs = False  # from the next on FFmpeg tells whether this is a stream at all
            raise SourceUnavailable(f"{self._url} gave a picture that cannot be decoded")
        return image

    def _is_late(self, began: float) -> bool:
        return self._timeout is not None and time.monotonic() - began >= self._timeout[0]

    def close(self) -> None:
        """Release the stream, its decoder and its connection; closing twice is fine."""
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            container.close()


def _stamp(frame: VideoFrame) -> float | None:
    if frame.pts is not None:
        return frame.time
    return _seconds(frame)


def _seconds(timed: VideoFrame | Packet[Any]) -> float | None:
    ticks = timed.dts if timed.pts is None else timed.pts
    return None if ticks is None or not timed.time_base else float(ticks * timed.time_base)


def _is_jpeg(packet: Packet[Any]) -> bool:
    """Tell whether a packet looks like one whole picture, at hardly any cost."""
    data = memoryview(packet)
    tail = bytes(data[-_PADDING - len(_JPEG_END) :])
    return bytes(data[: len(_JPEG_START)]) == _JPEG_START and _JPEG_END in tail


def _same(packet: Packet[Any], frame: VideoFrame) -> bool:
    """Tell whether the picture is read as FFmpeg reads it: not so where it is one field of two, say."""
    image = _read_jpeg(packet)
    return image is not None and image.shape == _converted(frame).shape


def _read_jpeg(packet: Packet[Any]) -> NDArray[np.uint8] | None:
    try:
        return cast(
            "NDArray[np.uint8] | None", cv2.imdecode(np.frombuffer(memoryview(packet), np.uint8), cv2.IMREAD_COLOR)
        )
    except cv2.error:
        return None


def _converted(frame: VideoFrame) -> NDArray[np.uint8]:
    """Convert a frame to (H, W, 3) uint8 BGR, turned upright by its rotation metadata."""
    image = cast("NDArray[np.uint8]", frame.to_ndarray(format="bgr24"))
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def reason(error: BaseException) -> str:
    """Give the short reason of a foreign error, without the address that its text holds."""
    if isinstance(error, av.ExitError):
        return _NO_ANSWER
    if isinstance(error, (av.FFmpegError, OSError)) and error.strerror:
        return error.strerror
    return type(error).__name__
