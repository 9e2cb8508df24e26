"""Boxes of a scene as frames, and a camera that follows them."""

from __future__ import annotations

from collections.abc import Sequence

from app.analysis.tracking.frame import ObservedBox, ObservedFrame, TrackedFrame
from app.analysis.tracking.state import CameraTracks
from app.analysis.tracking.tracker import track
from app.settings.tracking import TrackingSettings

START_S = 1_700_000_000
Box = tuple[float, float, float, float]


def frame(seconds: float, boxes: Sequence[Box] = (), score: float = 0.9, class_id: int = 2) -> ObservedFrame:
    """Return a frame ``seconds`` after the start; all its boxes have one score and class."""
    seen = tuple(ObservedBox(*map(float, box), score, class_id) for box in boxes)
    return ObservedFrame(START_S * 10**9 + round(seconds * 1e9), seen)


def moving(seconds: float, speed: float = 100.0, x: float = 100.0, y: float = 200.0) -> Box:
    """Return the box of a road user, 120 × 60 pixels, that moves to the right at so many pixels a second."""
    left = x + speed * seconds
    return left, y, left + 120, y + 60


class Camera:
    """Follows frames, and keeps the state as the system does."""

    def __init__(self, options: TrackingSettings | None = None) -> None:
        self.options = options or TrackingSettings()
        self.state = CameraTracks()
        self.last = TrackedFrame((), 0, late=False)

    def see(self, observed: ObservedFrame) -> list[int]:
        """Return the ids of the frame's boxes."""
        self.state, self.last = track(self.state, observed, self.options)
        return list(self.last.ids)

    def restart(self) -> None:
        """Go on from the stored state, as after a death."""
        self.state = CameraTracks.load(self.state.dump())
