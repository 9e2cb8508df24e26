"""DecoderChoice: whether hardware or the CPU decodes a camera's video."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from app.settings.cameras import DEFAULT_DECODE, Decode

if TYPE_CHECKING:  # loaded where a video is decoded, and only there
    from av.codec.hwaccel import HWAccel

_log = logging.getLogger(__name__)

CPU = "cpu"
IN_ORDER = ("cuda", "qsv", "drm")
"""Device types, in the order in which ``auto`` tries them."""
_CODECS = ("h264", "hevc", "av1", "vp9", "mjpeg")
"""Of cameras: a device that FFmpeg's own decoder of none of them uses can decode nothing here."""
_MOST_SILENT_PACKETS = 250
"""Packets from a key frame on, of which a decoder that works has made pictures: no codec holds back so many."""


class DeviceAbsent(Exception):
    """A device cannot decode; the text says why, in a few words."""


def known_devices() -> Collection[str]:
    """Return the device types that this FFmpeg was built with."""
    from av.codec.hwaccel import hwdevices_available

    return frozenset(hwdevices_available())


def find_device(name: str) -> HWAccel:
    """Return the device of a type, once it has been opened to see that it is there.

    Raises:
        DeviceAbsent: it is not, or no decoder uses it.
    """
    import av
    import av.logging
    from av.codec.hwaccel import HWAccel

    from app.cameras.sources.damage import enable_log

    enable_log()
    # FFmpeg's own decoder of the codec is the one that a video gets: h264, say, and not h264_qsv.
    decoders = [av.Codec(codec, "r") for codec in _CODECS if codec in av.codecs_available]
    users = [each for each in decoders if any(config.device_type.name == name for config in each.hardware_configs)]
    if not users:
        raise DeviceAbsent("no decoder of this FFmpeg uses it")
    device = HWAccel(name, allow_software_fallback=True)
    with av.logging.Capture() as log:
        try:
            device.create(users[0])
        except (av.FFmpegError, NotImplementedError) as error:
            # The error is only a number ("Operation not permitted"); what FFmpeg logs says what is missing.
            said = log[0][2].strip() if log else str(getattr(error, "strerror", None) or error)
            raise DeviceAbsent(said.rstrip(".")) from None
    return device


class DecoderChoice:
    """Chooses the decoder at each opening of a camera's video; lives as long as the camera.

    Whatever keeps hardware from decoding, the CPU does it, and one line says why. A device that is absent is looked for
    again when the video is opened again; one that failed in use is not. Used by the thread that captures;
    ``running`` may be read by any.
    """

    def __init__(
        self,
        camera_id: str,
        asked: Decode = DEFAULT_DECODE,
        *,
        known: Callable[[], Collection[str]] = known_devices,
        find: Callable[[str], HWAccel] = find_device,
    ) -> None:
        """Prepare; nothing is looked for before the first :meth:`begin`.

        Args:
            camera_id: for the log.
            asked: as the camera is configured.
            known: returns the device types that there can be.
            find: returns the device of a type, or raises ``DeviceAbsent``.
        """
        self._camera_id = camera_id
        self._asked = asked
        self._known = known
        self._find = find
        self.has_failed = False
        """Whether a device was there and failed: it is not tried again."""
        self._said: set[str] = set()
        self._device = CPU
        self.running = CPU
        """What decodes now: ``cpu``, or a device type."""
        self.why = ""
        """Why the CPU does though hardware is asked for; empty: it does not, or nobody knows yet."""

    def begin(self) -> HWAccel | None:
        """Return the device for a video that is about to be opened; ``None``: the CPU decodes it."""
        self.running = self._device = CPU
        if self._asked == CPU or self.has_failed:
            return None
        known = self._known()
        refusals = []
        for name in IN_ORDER if self._asked == "auto" else (self._asked,):
            try:
                if name not in known:
                    raise DeviceAbsent("this FFmpeg was built without it")
                device = self._find(name)
            except DeviceAbsent as absent:
                refusals.append(f"{name}: {absent}")
            else:
                self._device = name
                return device
        self._say("; ".join(refusals))
        return None

    def started(self) -> None:
        """Report that the device decodes the video."""
        self.running, self.why = self._device, ""

    def declined(self, reason: str) -> None:
        """Report that the device does not decode this video, for instance its codec; it may decode another."""
        self.running = CPU
        self._say(f"{self._device}: {reason}")

    def failed(self, reason: str) -> None:
        """Report that the device failed: from the next opening on the CPU decodes."""
        self.has_failed = True
        self.declined(reason)

    def _say(self, why: str) -> None:
        self.why = why
        if why not in self._said:
            self._said.add(why)
            _log.warning(
                "camera %s: the CPU decodes its video (decode: %s; %s)",
                self._camera_id,
                self._asked,
                why,
                extra={"camera_id": self._camera_id},
            )


class HardwareRun:
    """One video's use of a device, from its opening on: notices what FFmpeg does not say."""

    def __init__(self, choice: DecoderChoice, codec: str, pixel_format: str | None) -> None:
        """Begin.

        Args:
            choice: receives what becomes of it.
            codec: the decoder's name, for the log.
            pixel_format: the format of the device's own pictures.
        """
        self._choice = choice
        self._codec = codec
        self._format = pixel_format
        self._is_judged = False
        self._silent = 0

    def decoded(self, *, is_key: bool, pictures: int, pixel_format: str | None) -> bool:
        """Take what a packet was decoded to; return whether the device is stuck: it takes packets and gives nothing.

        FFmpeg falls back to the CPU by itself, without a word, where the device cannot decode a stream's kind: then the
        decoder's format is not the device's.
        """
        if pictures:
            self._silent = 0
            if not self._is_judged:
                self._is_judged = True
                if pixel_format == self._format:
                    self._choice.started()
                else:
                    self._choice.declined(f"it does not take this kind of {self._codec}")
        elif self._silent or is_key:
            self._silent += 1
        return self._silent > _MOST_SILENT_PACKETS
