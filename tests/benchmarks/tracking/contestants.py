"""The trackers that are compared: Sightline's, and those of Roboflow's package ``trackers``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import supervision
import trackers
from numpy.typing import NDArray

from app.analysis.tracking.frame import NO_TRACK, ObservedFrame
from app.analysis.tracking.state import CameraTracks
from app.analysis.tracking.tracker import SECOND_MATCH_WITHIN_S, track
from app.settings.tracking import TrackingSettings
from tests.benchmarks.tracking.sequence import LOW, Sequence, Step
from tests.support.observed import observed_boxes

SHOWN = 0.25
"""Score below which a box is for association only: it is not judged."""
LOST_AFTER_S = 1.5


@dataclass(frozen=True, eq=False)
class Answer:
    """The boxes of a frame that have an id."""

    boxes: NDArray[np.float64]
    """(M, 4) x1 y1 x2 y2 in pixels."""
    ids: NDArray[np.int64]
    """(M,)."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a contestant answered to a sequence."""

    answers: tuple[Answer, ...]
    cost_ms: float
    """Processor time an update, the median."""


Contestant = Callable[[Sequence], Run]


def sightline(sequence: Sequence) -> Run:
    """Run Sightline's tracker, which stores and loads its state at every frame."""
    options = TrackingSettings(low=LOW, lost_after=LOST_AFTER_S)
    stored = CameraTracks().dump()

    def update(step: Step) -> Answer:
        nonlocal stored
        nanoseconds = 1_700_000_000 * 10**9 + round(step.seconds * 1e9)
        observed = ObservedFrame(nanoseconds, observed_boxes(step.boxes, step.scores, step.class_ids))
        state, tracked = track(CameraTracks.load(stored), observed, options)
        stored = state.dump()
        ids = np.array(tracked.ids, np.int64)
        shown = (ids != NO_TRACK) & (step.scores >= SHOWN)
        return Answer(step.boxes[shown], ids[shown])

    return _run(sequence, update)


def all_knowing(sequence: Sequence) -> Run:
    """Return the best that the rules allow: who knows every identity, gives ids by the same rules as Sightline.

    An id with the second sight, within 1.2 s of the first, and another one after ``LOST_AFTER_S`` unseen. Its boxes are
    the true ones.
    """
    seen, ids, given = dict[int, float](), dict[int, int](), count(1)

    def update(step: Step) -> Answer:
        answer = np.zeros(len(step.identities), np.int64)
        for index, identity in enumerate(step.identities.tolist()):
            unseen = step.seconds - seen.get(identity, -np.inf)
            if unseen > (LOST_AFTER_S if identity in ids else SECOND_MATCH_WITHIN_S):
                ids.pop(identity, None)
            else:
                answer[index] = ids.setdefault(identity, next(given))
            seen[identity] = step.seconds
        return Answer(step.truth[answer > 0], answer[answer > 0])

    return _run(sequence, update)


def references() -> Iterator[tuple[str, bool, Contestant]]:
    """Yield name, whether it is given timestamps, and contestant of each reference.

    ByteTrack takes part as it is shipped and with Sightline's threshold of 0.5. All give an id with the second match.
    C-BIoU is given no pictures, so that it does not compensate the camera's motion; nor do the others.
    """
    half = {"track_activation_threshold": 0.5, "high_conf_det_threshold": 0.5}
    made = {
        "ByteTrack": (trackers.ByteTrackTracker, {}),
        "ByteTrack 0.5": (trackers.ByteTrackTracker, half),
        "OC-SORT": (trackers.OCSORTTracker, {"minimum_consecutive_frames": 2, "high_conf_det_threshold": 0.5}),
        "SORT": (trackers.SORTTracker, {"minimum_consecutive_frames": 2}),
        "C-BIoU": (trackers.CBIoUTracker, {**half, "instant_first_frame_activation": False}),
    }
    for name, (kind, options) in made.items():
        for timed in (True, False):
            yield name, timed, _reference(kind, options, timed=timed)


def _reference(kind: type, options: dict[str, float], *, timed: bool) -> Contestant:
    def run(sequence: Sequence) -> Run:
        # Their buffer is counted in frames of a video at 30 frames a second.
        tracker = kind(frame_rate=sequence.fps, lost_track_buffer=round(30 * LOST_AFTER_S), **options)

        def update(step: Step) -> Answer:
            given = supervision.Detections(
                xyxy=step.boxes.astype(np.float32),
                confidence=step.scores.astype(np.float32),
                class_id=step.class_ids,
            )
            found = tracker.update(given, timestamp=step.seconds if timed else None)
            if not len(found):
                return Answer(np.zeros((0, 4)), np.zeros(0, np.int64))
            shown = (found.tracker_id >= 0) & (found.confidence >= SHOWN)
            return Answer(found.xyxy[shown].astype(np.float64), found.tracker_id[shown].astype(np.int64))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _run(sequence, update)

    return run


def _run(sequence: Sequence, update: Callable[[Step], Answer]) -> Run:
    answers, costs = [], []
    for step in sequence.steps:
        begin = time.thread_time()
        answers.append(update(step))
        costs.append(time.thread_time() - begin)
    return Run(tuple(answers), 1000 * float(np.median(costs)) if costs else 0.0)
