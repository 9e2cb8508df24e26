"""NoOpDetector: a detector that finds nothing and costs nothing, to measure what surrounds a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.core.image_header import probe
from app.core.wanted import Wanted
from app.detection.detections import Detections
from app.detection.options import Thresholds
from app.detection.outcomes import ImageOutcome
from app.errors import ImageError


class NoOpDetector:
    """Reads each image's header, decodes nothing and detects nothing."""

    labels: Mapping[int, str] = {}
    model_name = "no-op"
    form = "no-op"
    device = "none"

    def warm_up(self) -> None:
        """Do nothing."""

    def retune(self, thresholds: Thresholds) -> None:
        """Do nothing: there are no detections to filter."""

    def check(self) -> None:
        """Do nothing: there is no device."""

    def close(self) -> None:
        """Do nothing."""

    def run(
        self, images: Sequence[bytes], begun: Callable[[], None] = lambda: None, wanted: Sequence[Wanted] = ()
    ) -> list[ImageOutcome]:
        """Return an outcome without detections for each image, in order."""
        return [_outcome(image) for image in images]


def _outcome(image: bytes) -> ImageOutcome:
    try:
        header = probe(image)
    except ImageError as error:
        return ImageOutcome(None, error, 0, 0, 0.0, 0.0)
    return ImageOutcome(Detections.empty(), None, header.width, header.height, 0.0, 0.0)
