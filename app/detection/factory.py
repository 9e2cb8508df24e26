"""Detector factories: what makes the detector that a replica runs, the model's or the no-op one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from app.core.wanted import Wanted
from app.detection.no_op import NoOpDetector
from app.detection.options import DetectorOptions, Thresholds
from app.detection.outcomes import ImageOutcome


class ReplicaDetector(Protocol):
    """A detector as a replica runs it; see :class:`~app.detection.detector.Detector`."""

    @property
    def labels(self) -> Mapping[int, str]:
        """Class id to label."""

    @property
    def model_name(self) -> str:
        """The base name of the configured model."""

    @property
    def form(self) -> str:
        """The base name of the file or folder that is run."""

    @property
    def device(self) -> str:
        """Where the model runs."""

    def warm_up(self) -> None:
        """Run once, so that the first real image is no slower than the rest."""

    def run(
        self, images: Sequence[bytes], begun: Callable[[], None] = ..., wanted: Sequence[Wanted] = ...
    ) -> list[ImageOutcome]:
        """Detect objects in encoded images; one outcome an image, in order."""

    def retune(self, thresholds: Thresholds) -> None:
        """Report by other thresholds from the next image on."""

    def check(self) -> None:
        """Raise :class:`~app.errors.ModelUnavailable` where the device no longer works."""

    def close(self) -> None:
        """Release what it holds; it cannot be used afterwards."""


DetectorFactory = Callable[[DetectorOptions], ReplicaDetector]
"""Makes the detector that options ask for; blocks while the model is loaded."""


def make_detector(options: DetectorOptions) -> ReplicaDetector:
    """Return the model's detector, loaded.

    Raises:
        SettingsError: an option does not suit the model.
        ModelUnavailable: it cannot be loaded.
    """
    from app.detection.detector import Detector  # it loads torch

    return Detector(options)


def make_no_op_detector(options: DetectorOptions) -> ReplicaDetector:
    """Return the detector that detects nothing, whatever the options say."""
    return NoOpDetector()
