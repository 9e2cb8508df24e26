"""Tracker: one frame of a camera and what is known of the camera, in; ids, and what is known then, out."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

from app.analysis.tracking.association import PlacedBox, Unsure, associate, place_box
from app.analysis.tracking.frame import NO_TRACK, ObservedFrame, TrackedFrame
from app.analysis.tracking.motion import Motion, Step, begin_motion, predict, step_of, update
from app.analysis.tracking.state import MOST_TRACKS, CameraTracks, StoredTrack, store_track
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
    now_ns = frame.captured_at_ns
    ids = [NO_TRACK] * len(frame.boxes)
    if now_ns <= state.last_frame_ns:
        return state, TrackedFrame(tuple(ids), started=0, late=True)
    tracks, motions = _predicted(state, now_ns, options)
    stored = [one.stored for one in tracks]
    next_id = first_id = state.next_id if tracks else state.skip_ids(now_ns).next_id
    # In an order that does not depend on the frame's.
    seen = sorted([(*box, index) for index, box in enumerate(frame.boxes) if box.score >= options.low])
    boxes = [_placed(left, top, right, bottom, class_id) for left, top, right, bottom, _, class_id, _ in seen]
    strong = [each[4] >= options.high for each in seen]
    matches = associate(*_expected(tracks, motions), boxes, strong)
    begun = []
    for number, (_, _, _, _, score, class_id, index) in enumerate(seen):
        row = matches.get(number)
        if row is not None:
            one = tracks[row]
            track_id = one.id
            if track_id == NO_TRACK:
                track_id, next_id = next_id, next_id + 1
            motion = update(motions[row], boxes[number][:4])
            stored[row] = store_track(track_id, now_ns, *_vote(one, class_id, score), motion)
            ids[index] = track_id
        elif strong[number]:
            begun.append(store_track(NO_TRACK, now_ns, class_id, score, begin_motion(boxes[number][:4])))
    after = CameraTracks(now_ns, next_id, _newest([*stored, *begun]))
    return after, TrackedFrame(tuple(ids), started=next_id - first_id, late=False)


def _placed(left: float, top: float, right: float, bottom: float, class_id: int) -> PlacedBox:
    width, height = right - left, bottom - top
    return place_box(
        ((left + right) / 2, (top + bottom) / 2, width if width > 1 else 1.0, height if height > 1 else 1.0, class_id)
    )


def _predicted(state: CameraTracks, now_ns: int, options: TrackingSettings) -> tuple[list[StoredTrack], list[Motion]]:
    """Return the tracks that have not ended by a time, and their motions then."""
    steps: dict[float, Step] = {}  # most tracks were seen in the same frame
    tracks, motions = [], []
    longest = options.lost_after
    longest_new = min(SECOND_MATCH_WITHIN_S, longest)
    for one in state:
        unseen_s = (now_ns - one.seen_at_ns) / 1e9
        if unseen_s > (longest_new if one.id == NO_TRACK else longest):
            continue
        if unseen_s not in steps:
            steps[unseen_s] = step_of(unseen_s)
        tracks.append(one)
        motions.append(predict(one.motion, steps[unseen_s]))
    return tracks, motions


def _expected(tracks: Iterable[StoredTrack], motions: Iterable[Motion]) -> tuple[list[PlacedBox], list[Unsure]]:
    """Return where the tracks are expected, and how uncertain their centres are."""
    places, unsure = [], []
    for one, (x, y, width, height) in zip(tracks, motions, strict=True):
        places.append(place_box((x[0], y[0], width[0], height[0], one.class_id)))
        unsure.append((sqrt(max(x[2], 0.0)), sqrt(max(y[2], 0.0))))
    return places, unsure


def _newest(tracks: list[bytes]) -> bytes:
    """Return the tracks as they are stored; beyond ``MOST_TRACKS`` without those that were not seen for longest."""
    stored = b"".join(tracks)
    if len(tracks) <= MOST_TRACKS:
        return stored
    seen_at_ns = [one.seen_at_ns for one in CameraTracks(stored=stored)]
    newest = sorted(range(len(tracks)), key=lambda number: -seen_at_ns[number])[:MOST_TRACKS]
    return b"".join([tracks[number] for number in sorted(newest)])


def _vote(track: StoredTrack, class_id: int, score: float) -> tuple[int, float]:
    """Return the class that most of a track's recent scores were for (R. Boyer and J. Moore, "MJRTY", 1981)."""
    weight = track.class_weight + (score if track.class_id == class_id else -score)
    return class_id if weight < 0 else track.class_id, min(abs(weight), _MOST_CLASS_WEIGHT)
