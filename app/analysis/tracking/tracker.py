"""Tracker: one frame of a camera and what is known of the camera, in; ids, and what is known then, out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.analysis.tracking.association import associate
from app.analysis.tracking.frame import NO_TRACK, ObservedFrame, TrackedFrame
from app.analysis.tracking.motion import Floats, Motion
from app.analysis.tracking.options import TrackingOptions
from app.analysis.tracking.state import MOST_TRACKS, TRACK, CameraTracks

SECOND_MATCH_WITHIN_S = 1.2
"""Seconds within which a new track must be matched again to get an id."""
_MOST_CLASS_WEIGHT = 3.0
"""Sum of scores that a track keeps for its class: so many against it change the class."""


def track(state: CameraTracks, frame: ObservedFrame, options: TrackingOptions) -> tuple[CameraTracks, TrackedFrame]:
    """Return a camera's tracks after a frame, and the ids of the frame's boxes.

    A pure function: equal arguments give equal results, and the order of the boxes makes no difference. A frame
    captured no later than the one before it gets no ids, and leaves the state as it was.
    """
    now = frame.captured_at_ns
    ids = np.full(len(frame), NO_TRACK, np.int64)
    if now <= state.last_frame_ns:
        return state, TrackedFrame(ids, started=0, late=True)
    tracks = _alive(state.tracks, now, options)
    next_id = state.next_id if len(tracks) else state.skip_ids(now).next_id
    order = _canonical_order(frame, options)
    places, scores, classes = _places(frame.boxes[order]), frame.scores[order], frame.class_ids[order]
    strong = scores >= options.high

    motion = _motion_of(tracks).predict((now - tracks["seen_at_ns"])[:, None] / 1e9)
    deviations = np.sqrt(motion.variance[0, :, :2])
    matches = associate(motion.place, deviations, tracks["class_id"], places, classes, strong)

    matched, begun = np.flatnonzero(matches >= 0), np.flatnonzero(strong & (matches < 0))
    rows = matches[matched]
    continued = tracks[rows]
    _vote(continued, classes[matched], scores[matched])
    _store(continued, motion.of(rows).update(places[matched]), now)
    fresh = np.flatnonzero(continued["id"] == NO_TRACK)
    continued["id"][fresh] = np.arange(next_id, next_id + len(fresh))
    tracks[rows] = continued
    ids[order[matched]] = continued["id"]
    if len(begun):
        tracks = _with(tracks, places[begun], classes[begun], scores[begun], now)
    return CameraTracks(now, next_id + len(fresh), tracks), TrackedFrame(ids, started=len(fresh), late=False)


def _with(
    tracks: NDArray[np.void], places: Floats, classes: NDArray[np.integer], scores: NDArray[np.floating], now_ns: int
) -> NDArray[np.void]:
    """Return the tracks and new ones; beyond ``MOST_TRACKS`` without those that were not seen for longest."""
    joined = np.zeros(len(tracks) + len(places), TRACK)
    joined[: len(tracks)] = tracks
    new = joined[len(tracks) :]
    new["class_id"], new["class_weight"] = classes, scores
    _store(new, Motion.begin(places), now_ns)
    if len(joined) <= MOST_TRACKS:
        return joined
    newest = np.argsort(-joined["seen_at_ns"], kind="stable")[:MOST_TRACKS]
    return joined[np.sort(newest)]


def _alive(tracks: NDArray[np.void], now_ns: int, options: TrackingOptions) -> NDArray[np.void]:
    """Return a copy of the tracks that have not ended by a time."""
    unseen = (now_ns - tracks["seen_at_ns"]) / 1e9
    limit = np.where(tracks["id"] == NO_TRACK, min(SECOND_MATCH_WITHIN_S, options.lost_after), options.lost_after)
    return tracks[unseen <= limit]


def _canonical_order(frame: ObservedFrame, options: TrackingOptions) -> NDArray[np.intp]:
    """Return the indices of the boxes that take part, in an order that does not depend on theirs."""
    keys = (frame.class_ids, frame.scores, *frame.boxes.T[::-1])
    order = np.lexsort(keys)
    return order[frame.scores[order] >= options.low]


def _places(boxes: NDArray[np.floating]) -> Floats:
    places = np.empty(boxes.shape)
    places[:, :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
    places[:, 2:] = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    return places


def _motion_of(tracks: NDArray[np.void]) -> Motion:
    variance = tracks["variance"].astype(np.float64).transpose(1, 0, 2)
    return Motion(tracks["place"].astype(np.float64), tracks["velocity"].astype(np.float64), variance)


def _store(tracks: NDArray[np.void], motion: Motion, seen_at_ns: int) -> None:
    tracks["seen_at_ns"] = seen_at_ns
    tracks["place"], tracks["velocity"] = motion.place, motion.velocity
    tracks["variance"] = motion.variance.transpose(1, 0, 2)


def _vote(tracks: NDArray[np.void], classes: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
    """Let each track have the class that most of its recent scores were for (R. Boyer and J. Moore, "MJRTY", 1981)."""
    weight = tracks["class_weight"] + np.where(tracks["class_id"] == classes, scores, -scores)
    tracks["class_id"] = np.where(weight < 0, classes, tracks["class_id"])
    tracks["class_weight"] = np.minimum(np.abs(weight), _MOST_CLASS_WEIGHT)
