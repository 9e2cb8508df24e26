"""The messages between the ingress and a detector replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.core.clock import Clock
from app.core.wanted import AS_CONFIGURED, Wanted
from app.detection import ImageOutcome
from app.errors import DeadlineExceeded


@dataclass(frozen=True)
class DetectorJob:
    """One image on its way to a detector replica."""

    image: bytes = field(repr=False)
    remaining_s: float
    """What is left of its budget, in seconds, when it is handed over."""
    traceparent: str = ""
    """W3C trace context of its ``Detect`` call; empty where that is not traced."""
    wanted: Wanted = AS_CONFIGURED


@dataclass(frozen=True)
class ModelInfo:
    """The model that a detector replica runs."""

    name: str
    labels: Mapping[int, str]
    device: str


@dataclass(frozen=True)
class DetectorAnswer:
    """The outcomes of a batch, in order, and the model that made them."""

    outcomes: tuple[ImageOutcome, ...]
    model: ModelInfo
    busy_s: float = 0.0
    """Seconds that the detector worked on the batch."""


def expired(job: DetectorJob, received: float, clock: Clock) -> DeadlineExceeded | None:
    """Return the error of a job whose budget ran out since it was ``received`` (monotonic seconds), else ``None``."""
    late = clock.monotonic() - received >= job.remaining_s
    return DeadlineExceeded("the budget ran out before the model was free") if late else None
