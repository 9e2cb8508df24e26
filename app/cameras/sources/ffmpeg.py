"""VideoDecoder: the one place that meets PyAV, and turns its errors into ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import av
import av.logging
import cv2
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from app.cameras.sources.damage import Log, LossTracker, names_other_transport
from app.cameras.sources.decoder_choice import DecoderChoice, HardwareRun
from app.cameras.sources.http_proxy import proxy_options
from app.cameras.sources.recovery_point import frames_to_recovery
from app.cameras.sources.still import stretched
from app.errors import SourceRefused, SourceUnavailable
from app.settings.environment import bypass_proxies, process_environment
from app.settings.source_url import SourceUrl

_ORDINARY_FPS = 25.0
_MAX_BROKEN_PACKETS = 250
"""So many undecodable packets in a row are no stream."""
_NO_ANSWER = "no answer within its time-out"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_DEEP_GREY = frozenset({f"gray{bits}{order}" for bits in (10, 12, 14, 16) for order in ("le", "be")})
"""FFmpeg's pixel formats of thermal cameras: they use a small part of their range."""
_PADDING = 8
"""So many bytes may follow a picture's end: containers pad."""


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """One frame of a video."""

    stamp_s: float | None
    """Its own timestamp in seconds; ``None`` where it has none."""
    pixels: Callable[[], NDArray[np.uint8]]
    """Returns (H, W, 3) uint8 BGR, upright, in any thread; raises ``SourceUnavailable`` where there are none."""
    jpeg: Callable[[], bytes] | None = None
    """Returns the picture as it came, where it came as a JPEG."""
    damaged: bool = False
    """Whether data of it, or of a frame that it refers to, was lost."""


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
        container: str | None = None,
        choice: DecoderChoice | None = None,
    ) -> None:
        """Make one that is not opened.

        Args:
            url: the address as it is shown.
            address: what FFmpeg opens.
            options: FFmpeg's options.
            open_s: the limit of opening, and again of the first packet, in seconds; ``None``: there is none.
            read_s: the limit of each packet, in seconds.
            container: FFmpeg's name of the container format; ``None``: FFmpeg finds it out.
            choice: of hardware or the CPU; ``None``: the CPU. Hardware decodes into this process's memory.
        """
        self._url = url
        self._address = address
        self._options = dict(options)
        self._timeout = None if open_s is None else (open_s, read_s)
        self._format = container
        self._choice = choice or DecoderChoice("")
        self._hardware: HardwareRun | None = None
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self.met_other_transport = False
        """Whether opening failed since an RTSP server answered with a transport that was not asked for."""
        self._jpegs = False
        """Whether pictures may be decoded one by one."""

    def open(self, low_delay: bool = False) -> None:
        """Open the address and its best video stream.

        Raises:
            SourceRefused: the account is missing or refused.
            SourceUnavailable: there is nothing, no video, or no way to decode it.
        """
        began = time.monotonic()
        log: Log = ()
        device = self._choice.begin()
        if self._address.startswith("rtsps://"):
            bypass_proxies(urlsplit(self._address).hostname or "")
        try:
            with av.logging.Capture() as log:
                self._container = self._connect(device)
            best = self._container.streams.best("video")
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            # FFmpeg gives odd reasons where the interrupted one was a handshake ("Operation not permitted").
            why = _NO_ANSWER if self._is_late(began) else reason(error)
            self.met_other_transport = names_other_transport(log)
            if isinstance(error, (av.HTTPUnauthorizedError, av.HTTPForbiddenError)):
                raise SourceRefused(f"{self._url} cannot be opened: {why}") from None
            raise SourceUnavailable(f"{self._url} cannot be opened: {why}") from None
        if self._is_late(began):
            # FFmpeg is content with what it saw before it was interrupted: a server that plays, and sends nothing.
            self.close()
            raise SourceUnavailable(f"{self._url} cannot be opened: {_NO_ANSWER}")
        if not isinstance(best, VideoStream):
            self.close()
            raise SourceUnavailable(f"{self._url} holds no video")
        codec = best.codec_context
        self._hardware = HardwareRun(self._choice, codec.name, codec.pix_fmt) if codec.is_hwaccel else None
        if device is not None and self._hardware is None and not self._choice.has_failed:
            self._choice.declined(f"FFmpeg's {codec.name} decoder does not use it")
        # Slices decode in parallel without holding frames back, as frame threads do.
        # Two threads are enough: cameras are many; and hardware has no use for any.
        codec.thread_count = 1 if self._hardware else 2
        if low_delay:
            best.codec_context.flags |= int(av.codec.context.Flags.low_delay)
        self._stream = best
        self._jpegs = False

    def _connect(self, device: HWAccel | None) -> InputContainer:
        def connect(hwaccel: HWAccel | None) -> InputContainer:
            return av.open(
                self._address,
                format=self._format,
                options=self._options | proxy_options(self._address, process_environment()),
                timeout=self._timeout,
                metadata_errors="replace",
                hwaccel=hwaccel,
            )

        try:
            return connect(device)
        except av.FFmpegError as error:
            if device is None or getattr(error, "filename", None) is not None:
                raise
            # Only a device's error names no address: the camera answered, and is asked once more.
            self._choice.failed(reason(error))
            return connect(None)

    def frames(self) -> Iterator[DecodedFrame | None]:
        """Yield the frames in order of presentation; ``None`` for a packet that completed none.

        Raises:
            SourceUnavailable: it stopped giving packets, or they are garbage.
        """
        assert self._container is not None, "open() comes first"
        assert self._stream is not None, "open() comes first"
        broken, first = 0, self._stream.codec_context.name == "mjpeg"
        loss, is_begun = LossTracker(), False
        try:
            # Every stream's packets: where sound goes on without pictures, the caller must get to see its clock.
            packets = self._container.demux()
            while True:
                with av.logging.Capture() as log:
                    packet = next(packets, None)
                if packet is None:
                    return
                loss.packet(log)
                if loss.is_damaged and packet.stream_index == self._stream.index:
                    frames_left = frames_to_recovery(bytes(packet), self._stream.codec_context.name)
                    if frames_left is not None:
                        loss.recover_in(frames_left)
                if self._jpegs and packet.stream_index == self._stream.index and _is_jpeg(packet):
                    is_damaged = loss.frame(is_key=True, is_corrupt=packet.is_corrupt)
                    yield DecodedFrame(
                        _seconds(packet), partial(self._decoded, packet), partial(bytes, packet), is_damaged
                    )
                    continue
                try:
                    frames = packet.decode() if packet.stream_index == self._stream.index else []
                except av.InvalidDataError:
                    broken += 1
                    if broken > _MAX_BROKEN_PACKETS:
                        if self._hardware:
                            self._choice.failed("it takes none of the packets")
                        raise SourceUnavailable(f"{self._url} gives packets that cannot be decoded") from None
                    frames = []
                except av.FFmpegError as error:
                    if self._hardware:
                        self._choice.failed(reason(error))
                    raise
                else:
                    broken = 0 if frames else broken
                pictures = [frame for frame in frames if isinstance(frame, VideoFrame)]
                if first and pictures:
                    first, self._jpegs = False, _is_jpeg(packet) and _same(packet, pictures[0])
                    if self._jpegs and self._hardware:
                        self._hardware = None
                        self._choice.declined("pictures of a Motion JPEG are decoded one by one")
                if self._hardware and packet.stream_index == self._stream.index:
                    self._watch(self._hardware, packet, len(pictures))
                for frame in pictures:
                    is_damaged = loss.frame(is_key=bool(frame.key_frame), is_corrupt=frame.is_corrupt)
                    is_begun = True
                    yield DecodedFrame(_stamp(frame), partial(_converted, frame), damaged=is_damaged)
                if is_begun and not pictures and loss.is_lost and packet.stream_index == self._stream.index:
                    # FFmpeg's decoder of H.265 returns nothing for a picture that refers to a lost one.
                    yield DecodedFrame(_seconds(packet), self._lost, damaged=True)
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
            self._jpegs = False  # from the next on FFmpeg decides whether this is a stream at all
            raise SourceUnavailable(f"{self._url} gave a picture that cannot be decoded")
        return image

    def _watch(self, hardware: HardwareRun, packet: Packet[Any], pictures: int) -> None:
        assert self._stream is not None, "open() comes first"
        pixel_format = self._stream.codec_context.pix_fmt
        if hardware.decoded(is_key=packet.is_keyframe, pictures=pictures, pixel_format=pixel_format):
            self._choice.failed("it gives no pictures")
            raise SourceUnavailable(f"{self._url} stopped: its hardware decoder gives no pictures")

    def _lost(self) -> NDArray[np.uint8]:
        raise SourceUnavailable(f"{self._url} lost data of a picture")

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
    """Return whether a packet looks like one whole picture, at hardly any cost."""
    data = memoryview(packet)
    tail = bytes(data[-_PADDING - len(_JPEG_END) :])
    return bytes(data[: len(_JPEG_START)]) == _JPEG_START and _JPEG_END in tail


def _same(packet: Packet[Any], frame: VideoFrame) -> bool:
    """Return whether the picture is read as FFmpeg reads it: not so where it is one field of two, say."""
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
    if frame.format.name in _DEEP_GREY:
        deep = stretched(frame.to_ndarray(format="gray16le"))
        image = cast("NDArray[np.uint8]", cv2.cvtColor(deep, cv2.COLOR_GRAY2BGR))
    else:
        image = cast("NDArray[np.uint8]", frame.to_ndarray(format="bgr24"))
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def reason(error: BaseException) -> str:
    """Return the short reason of a foreign error, without the address that its text holds."""
    if isinstance(error, av.ExitError):
        return _NO_ANSWER
    if isinstance(error, (av.FFmpegError, OSError)) and error.strerror:
        return error.strerror
    return type(error).__name__
