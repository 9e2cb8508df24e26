"""Sequence: truth and detections of a camera, frame by frame, of a simulated street or a real recording."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.detection import Detector, DetectorOptions
from app.detection.models.train_street import HELD_OUT_SEEDS, LEAST_VISIBLE
from app.settings.paths import DEMO_MODEL
from app.simulation.spec import StreetSpec
from app.simulation.street import GroundTruth, Street

LOW = 0.1
"""Score below which no contestant gets a box."""
JITTER = 0.03
"""Standard deviation by which a true box's sides are moved, as a share of its width or height."""
QUALITY = 85


@dataclass(frozen=True, eq=False)
class Step:
    """One frame."""

    seconds: float
    truth: NDArray[np.float64]
    """(G, 4) x1 y1 x2 y2 in pixels."""
    identities: NDArray[np.int64]
    """(G,)."""
    boxes: NDArray[np.float64]
    """(N, 4) x1 y1 x2 y2 in pixels, as detected."""
    scores: NDArray[np.float64]
    """(N,)."""
    class_ids: NDArray[np.int64]
    """(N,)."""


@dataclass(frozen=True, eq=False)
class Sequence:
    """The frames of one camera."""

    name: str
    fps: float
    """Frames a second before any were dropped."""
    steps: tuple[Step, ...]

    def dropped(self, share: float) -> Sequence:
        """Return the sequence without that share of its frames, which are chosen independently of each other."""
        rng = np.random.default_rng((17, round(share * 100), len(self.steps)))
        kept = rng.random(len(self.steps)) >= share
        return replace(self, steps=tuple(step for step, keep in zip(self.steps, kept, strict=True) if keep))

    def thinned(self, every: int) -> Sequence:
        """Return every so many-th frame."""
        return replace(self, fps=self.fps / every, steps=self.steps[::every])


def street(number: int, fps: float, objects: int, motion: tuple[str, ...]) -> StreetSpec:
    """Return the spec of a street that neither the model nor the tracker's numbers were chosen on."""
    return StreetSpec(HELD_OUT_SEEDS + 50_000 + number, fps, 1280, 720, objects, motion)


def jittered(spec: StreetSpec, seconds: float) -> Sequence:
    """Return a street's true boxes, each side moved, with a score that falls with what is hidden."""
    rng = np.random.default_rng((spec.seed, round(spec.fps * 10)))
    # A street of a quarter of the pixels has the same road users, and its truth takes a quarter of the time.
    drawn = Street(replace(spec, width=spec.width // 2, height=spec.height // 2))
    steps = []
    for index in range(round(seconds * spec.fps)):
        truth = drawn.truth(index)
        boxes, identities, classes, visible = _seen(truth)
        boxes = 2 * boxes
        size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        moved = boxes + rng.normal(0, JITTER, boxes.shape) * size
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        scores = np.clip(0.35 + 0.55 * visible + rng.normal(0, 0.05, len(visible)), LOW, 1)
        steps.append(Step(index / spec.fps, boxes, identities, moved, scores, classes))
    return Sequence(_name(spec), spec.fps, tuple(steps))


def detected(spec: StreetSpec, seconds: float) -> Sequence:
    """Return what the bundled model detects on a street's frames, as JPEG."""
    detector = Detector(DetectorOptions(model=str(DEMO_MODEL), confidence=LOW))
    drawn = Street(spec)
    steps = []
    for index in range(round(seconds * spec.fps)):
        frame = drawn.frame(index)
        jpeg = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        found = detector.detect([jpeg])[0]
        boxes, identities, _, _ = _seen(frame.truth)
        steps.append(
            Step(
                index / spec.fps,
                boxes,
                identities,
                found.boxes.astype(np.float64),
                found.scores.astype(np.float64),
                found.class_ids,
            )
        )
    return Sequence(_name(spec), spec.fps, tuple(steps))


def campus() -> Sequence:
    """Return TUD-Campus, 71 frames of pedestrians at 25 a second, with the true boxes as detections.

    The package motmetrics carries the file. M. Andriluka and others, "People-Tracking-by-Detection and
    People-Detection-by-Tracking", 2008.
    """
    package = importlib.util.find_spec("motmetrics")
    assert package is not None
    assert package.origin is not None
    rows = np.loadtxt(Path(package.origin).parent / "data" / "TUD-Campus" / "gt.txt", delimiter=",")
    return Sequence("TUD-Campus", 25.0, tuple(_campus_steps(rows)))


def _campus_steps(rows: NDArray[np.float64]) -> Iterator[Step]:
    for number in np.unique(rows[:, 0]):
        here = rows[rows[:, 0] == number]
        boxes = np.concatenate([here[:, 2:4], here[:, 2:4] + here[:, 4:6]], axis=1)
        count = len(here)
        yield Step(
            number / 25, boxes, here[:, 1].astype(np.int64), boxes, np.full(count, 0.9), np.zeros(count, np.int64)
        )


def _seen(
    truth: GroundTruth,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    enough = truth.visible >= LEAST_VISIBLE
    boxes, visible = truth.boxes[enough].astype(np.float64), truth.visible[enough].astype(np.float64)
    return boxes, truth.identities[enough], truth.class_ids[enough], visible


def _name(spec: StreetSpec) -> str:
    return f"{spec.objects} objects, {'+'.join(spec.motion) or 'constant'}"
