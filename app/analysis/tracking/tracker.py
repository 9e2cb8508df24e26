"""Tracker: one frame of a camera and what is known of the camera, in; ids, and what is known then, out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.analysis.tracking.association import associate
from app.analysis.tracking.frame import NO_TRACK, ObservedFrame, TrackedFrame
from app.analysis.tracking.motion import Floats, Motion
from app.analysis.tracking.state import MOST_TRACKS, TRACK, CameraTracks
from app.settings.tracking import TrackingSettings

SECOND_MATCH_WITHIN_S = 1.2
"""Seconds within which a new track must be matched again to get an id."""
_MOST_CLASS_WEIGHT = 3.0
"""Sum of scores that a track keeps for its class: so many against it change the class."""


def track(state: CameraTracks, frame: ObservedFrame, options: TrackingSettings) -> tuple[CameraTracks, TrackedFrame]:
    """Return a camera's tracks after a frame, and the ids of the frame's boxes.

    A pure function: equal arguments give equal results, and the order of the boxes makes no difference. A frame
    captured no later than the one before it gets no ids, and leaves the state as it was.
    """
    now = frame.captured_at_ns
    ids = np.full(len(frame), NO_TRACK, np.int64)
    if now <= state.last_frame_ns:
        return state, TrackedFrame(ids, started=0, late=True)
    tracks, unseen_s = _alive(state.tracks, now, options)
    next_id = state.next_id if len(tracks) else state.skip_ids(now).next_id
    order = _canonical_order(frame, options)
    if not len(order):
        return CameraTracks(now, next_id, tracks), TrackedFrame(ids, started=0, late=False)
    places, scores, classes = _places(frame.boxes[order]), frame.scores[order], frame.class_ids[order]
    strong = scores >= options.high

    motion = _motion_of(tracks).predict(unseen_s)
    deviations = np.sqrt(motion.variance[0, :, :2])
    matches = associate(motion.place, deviations, tracks["class_id"], places, classes, strong)

    is_matched = matches >= 0
    begun = strong > is_matched
    started = 0
    if is_matched.any():
        matched = is_matched.nonzero()[0]
        rows = matches[matched]
        continued = tracks[rows]
        _vote(continued, classes[matched], scores[matched])
        _store(continued, motion.of(rows).update(places[matched]), now)
        track_ids = continued["id"]
        fresh = (track_ids == NO_TRACK).nonzero()[0]
        started = len(fresh)
        if started:
            track_ids[fresh] = np.arange(next_id, next_id + started)
        tracks[rows] = continued
        ids[order[matched]] = track_ids
    if begun.any():
        tracks = _with(tracks, places[begun], classes[begun], scores[begun], now)
    return CameraTracks(now, next_id + started, tracks), TrackedFrame(ids, started=started, late=False)


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


def _alive(tracks: NDArray[np.void], now_ns: int, options: TrackingSettings) -> tuple[NDArray[np.void], Floats]:
    """Return a copy of the tracks that have not ended by a time, and the seconds since each was seen."""
    unseen_s: Floats = (now_ns - tracks["seen_at_ns"]) / 1e9
    shortest = min(SECOND_MATCH_WITHIN_S, options.lost_after)
    if not len(tracks) or unseen_s.max() <= shortest:
        return tracks.copy(), unseen_s
    alive = unseen_s <= np.where(tracks["id"] == NO_TRACK, shortest, options.lost_after)
    return tracks[alive], unseen_s[alive]


def _canonical_order(frame: ObservedFrame, options: TrackingSettings) -> NDArray[np.intp]:
    """Return the indices of the boxes that take part, in an order that does not depend on theirs."""
    lefts = frame.boxes[:, 0]
    if len(set(lefts.tolist())) == len(lefts):
        order = lefts.argsort()  # by the left side alone, where that decides
    else:
        order = np.lexsort((frame.class_ids, frame.scores, *frame.boxes.T[::-1]))
    takes_part = frame.scores[order] >= options.low
    return order if takes_part.all() else order[takes_part]


def _places(boxes: NDArray[np.floating]) -> Floats:
    """Return (N, 4) boxes as x and y of the centre, width, height, in the memory's order of ``Motion``."""
    sides = boxes.T
    places = np.empty(sides.shape)
    places[:2] = (sides[:2] + sides[2:]) / 2
    np.maximum(sides[2:] - sides[:2], 1.0, out=places[2:])
    return places.T


def _motion_of(tracks: NDArray[np.void]) -> Motion:
    return Motion(np.array(tracks["motion"].transpose(1, 2, 0), np.float64, order="C"))


def _store(tracks: NDArray[np.void], motion: Motion, seen_at_ns: int) -> None:
    tracks["seen_at_ns"] = seen_at_ns
    tracks["motion"] = motion.moments.transpose(2, 0, 1)


def _vote(tracks: NDArray[np.void], classes: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
    """Let each track have the class that most of its recent scores were for (R. Boyer and J. Moore, "MJRTY", 1981)."""
    voted, weights = tracks["class_id"], tracks["class_weight"]
    alike = voted == classes
    if alike.all():
        np.minimum(weights + scores, _MOST_CLASS_WEIGHT, out=weights, casting="same_kind")
        return
    weight = weights + np.where(alike, scores, -scores)
    tracks["class_id"] = np.where(weight < 0, classes, voted)
    tracks["class_weight"] = np.minimum(np.abs(weight), _MOST_CLASS_WEIGHT)
