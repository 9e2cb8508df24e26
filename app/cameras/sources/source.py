"""Source: where a camera's frames come from, behind one small protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.core.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FrameTime:
    """A frame that is due now, before anything was paid for its pixels."""

    index: int
    """Position in the stream since it was opened, from 0; it goes on rising when a recording loops."""
    time_s: float
    """Presentation time in seconds; only differences count."""


@dataclass(frozen=True)
class Capture:
    """The instant at which the decoder (or the simulator) handed a frame over."""

    wall_ns: int
    """Nanoseconds since 1970 UTC."""
    monotonic: float
    """Seconds; the start of the frame's latency budget."""

    @classmethod
    def now(cls, clock: Clock) -> Capture:
        """Stamp the present instant."""
        return cls(wall_ns=clock.wall_ns(), monotonic=clock.monotonic())

    @property
    def at(self) -> datetime:
        """The instant in UTC, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.wall_ns // 1000)


@dataclass(frozen=True, eq=False)
class RawFrame:
    """One frame of a source, at its instant; its pixels may not have been made yet."""

    make_image: Callable[[], NDArray[np.uint8]]
    """Returns the pixels; called at most once, in any thread, also after the source went on or was closed."""
    captured: Capture
    jpeg: Callable[[], bytes] | None = None
    """Returns the picture as it came, where it came as one JPEG of its own."""
    damaged: bool = False
    """Whether the picture is known not to be whole: data of it, or of one that it refers to, was lost."""

    @classmethod
    def of(cls, image: NDArray[np.uint8], captured: Capture) -> RawFrame:
        """Make a frame of pixels that are there."""
        return cls(lambda: image, captured)

    @property
    def image(self) -> NDArray[np.uint8]:
        """Make the pixels: (H, W, 3) uint8, blue, green, red; upright (rotation and EXIF orientation applied).

        Raises:
            SourceUnavailable: the picture cannot be decoded.
        """
        return self.make_image()


class Source(Protocol):
    """A stream of frames, used by one thread and opened once; only ``interrupt`` may be called from others.

    Every error is a ``SourceError`` whose text holds no secret.
    """

    @property
    def live(self) -> bool:
        """Whether frames come by themselves, so that silence is a fault; a recording is paced by us."""

    def open(self) -> None:
        """Open it.

        Raises:
            SourceUnavailable: it cannot be opened.
        """

    def grab(self) -> FrameTime | None:
        """Block until the next frame is due; ``None`` where it was interrupted.

        Raises:
            SourceUnavailable: it stopped giving frames.
            SourceEnded: it has no more frames, and does not loop.
        """

    def retrieve(self) -> RawFrame:
        """Return the frame that ``grab`` returned last; asked for sampled frames only, most of which are sent.

        What can be left until the frame is encoded is left: it may be superseded before.

        Raises:
            SourceUnavailable: the picture cannot be had.
        """

    def interrupt(self) -> None:
        """Make the present and every later ``grab`` return ``None`` as soon as it can; thread-safe.

        It may come before ``open``, or while that waits.
        """

    def close(self) -> None:
        """Release everything; closing twice is fine."""
