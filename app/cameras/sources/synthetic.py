"""SyntheticSource: the simulated street, in real time."""

from __future__ import annotations

import math

from app.cameras.sources.pacing import LATE_S, Pacer
from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.core.clock import Clock
from app.simulation.spec import StreetSpec
from app.simulation.street import Street


class SyntheticSource:
    """``synthetic://street``: frame ``index`` is exactly the street's frame of that index.

    Drawing is what the sensor does, so it happens in ``retrieve``, for sampled frames only, before capture.
    """

    live = False

    def __init__(self, spec: StreetSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._pacer = Pacer(clock)
        self._street: Street | None = None
        self._index = -1

    def open(self) -> None:
        """Build the street."""
        self._street = Street(self._spec)

    def grab(self) -> FrameTime | None:
        """Wait for the next frame; frames that are over are left out."""
        index = self._index + 1
        late_s = self._pacer.lateness(index / self._spec.fps)
        if late_s > LATE_S:
            index += math.floor(late_s * self._spec.fps)
        if not self._pacer.wait_for(index / self._spec.fps):
            return None
        self._index = index
        return FrameTime(index=index, time_s=index / self._spec.fps)

    def retrieve(self) -> RawFrame:
        """Draw the frame."""
        assert self._street is not None, "open() comes first"
        image = self._street.frame(self._index).image
        return RawFrame.of(image, Capture.now(self._clock))

    def interrupt(self) -> None:
        """End the wait for the next frame."""
        self._pacer.interrupt()

    def close(self) -> None:
        """Release the street."""
        self._street = None
