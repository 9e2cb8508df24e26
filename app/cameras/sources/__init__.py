"""Every kind of source, behind one protocol, and the function that picks the kind for an address."""

from __future__ import annotations

from pathlib import Path

from app.cameras.sources.decoder_choice import DecoderChoice
from app.cameras.sources.source import Capture, FrameTime, RawFrame, Source
from app.cameras.sources.timeouts import Timeouts
from app.core.clock import Clock
from app.settings.cameras import DEFAULT_STALL_S
from app.settings.source_url import IMAGE_SUFFIXES, SourceKind, SourceUrl

__all__ = ["Capture", "DecoderChoice", "FrameTime", "RawFrame", "Source", "open_source"]


def open_source(
    url: SourceUrl,
    fps: float,
    clock: Clock | None = None,
    *,
    stall_s: float = DEFAULT_STALL_S,
    choice: DecoderChoice | None = None,
) -> Source:
    """Return the source for an address, not yet opened.

    Args:
        url: the address.
        fps: the rate, per second, at which images are shown and snapshots are asked for.
        clock: the clocks; ``None``: the machine's own.
        stall_s: the silence in seconds that counts as a stall, from which the time-outs follow.
        choice: of the decoder of a video; ``None``: the CPU.

    Each kind is imported where it is asked for: a camera loads only the library that it needs.
    """
    clock = clock or Clock()
    if url.kind is SourceKind.SYNTHETIC:
        return _synthetic(url, clock)
    if url.kind is SourceKind.FILE:
        return _recording(url, fps, clock, choice)
    if url.kind is SourceKind.DEVICE:
        from app.cameras.sources.device import DeviceSource

        return DeviceSource(url, clock)
    timeouts = Timeouts.of(stall_s)
    if url.kind is SourceKind.HTTP:
        from app.cameras.sources.http import HttpSource

        return HttpSource(url, fps, clock, timeouts, choice)
    from app.cameras.sources.live import LiveSource

    return LiveSource(url, clock, timeouts, choice=choice)


def _synthetic(url: SourceUrl, clock: Clock) -> Source:
    from app.cameras.sources.synthetic import SyntheticSource
    from app.simulation.spec import StreetSpec

    return SyntheticSource(StreetSpec.parse(url.reveal()), clock)


def _recording(url: SourceUrl, fps: float, clock: Clock, choice: DecoderChoice | None) -> Source:
    place = Path(url.path)
    is_images = url.is_images
    if place.is_dir():
        is_images = True
    elif place.is_file():
        # What is there counts before what the name looks like: clip[1].mp4 is a video, not a glob.
        is_images = place.suffix.lower() in IMAGE_SUFFIXES
    if is_images:
        from app.cameras.sources.images import ImagesSource

        return ImagesSource(url, fps, clock)
    from app.cameras.sources.video import VideoSource

    return VideoSource(url, f"file:{url.path}", clock, choice=choice)  # a name with a colon is no protocol
