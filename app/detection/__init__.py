"""The detector: encoded images in, detections out; the only importer of torch and Ultralytics.

Importing this package is cheap: torch and Ultralytics are loaded when ``Detector`` is first asked for. It
does set, for this process and its children, the variables that keep Ultralytics from installing packages,
unpickling code and calling home, because they count only before Ultralytics is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.detection.factory import DetectorFactory, ReplicaDetector, make_detector, make_no_op_detector
from app.detection.no_op import NoOpDetector
from app.detection.options import DetectorOptions, Thresholds
from app.detection.outcomes import ImageOutcome
from app.detection.ultralytics_guard import guard_ultralytics

if TYPE_CHECKING:
    from app.detection.detector import Detector

__all__ = [
    "Detector",
    "DetectorFactory",
    "DetectorOptions",
    "ImageOutcome",
    "NoOpDetector",
    "ReplicaDetector",
    "Thresholds",
    "make_detector",
    "make_no_op_detector",
]

guard_ultralytics()


def __getattr__(name: str) -> object:
    if name == "Detector":
        from app.detection.detector import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
