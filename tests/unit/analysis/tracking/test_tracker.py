"""Tracker: the same object keeps its id over frames that are dropped, irregular, repeated, or of another process."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analysis.tracking.frame import NO_TRACK, ObservedBox, ObservedFrame
from app.analysis.tracking.motion import Motion
from app.analysis.tracking.state import MOST_TRACKS, CameraTracks
from app.analysis.tracking.tracker import track
from app.settings.tracking import TrackingSettings
from tests.unit.analysis.tracking.scenes import START_S, Camera, frame, moving

GAPS = st.lists(st.floats(0.04, 0.9), min_size=3, max_size=12)
"""Seconds between frames, from 25 a second to what few frames leave when most are dropped."""


@st.composite
def scenes(draw: st.DrawFn) -> list[ObservedFrame]:
    """Some frames with boxes anywhere, of any score and of two classes."""
    seconds, frames = 0.0, []
    for _ in range(draw(st.integers(1, 8))):
        seconds += draw(st.floats(0.02, 1.6))
        corner = st.tuples(st.floats(0, 600), st.floats(0, 400), st.floats(5, 200), st.floats(5, 200))
        boxes = draw(st.lists(corner, max_size=6))
        observed = frame(seconds, [(x, y, x + width, y + height) for x, y, width, height in boxes])
        scores = draw(st.lists(st.floats(0, 1), min_size=len(boxes), max_size=len(boxes)))
        classes = draw(st.lists(st.integers(0, 1), min_size=len(boxes), max_size=len(boxes)))
        mixed = [
            ObservedBox(*box[:4], score, kind) for box, score, kind in zip(observed.boxes, scores, classes, strict=True)
        ]
        frames.append(ObservedFrame(observed.captured_at_ns, tuple(mixed)))
    return frames


def test_an_object_gets_its_id_with_its_second_match_and_keeps_it():
    camera = Camera()
    seen = [camera.see(frame(second / 5, [moving(second / 5)]))[0] for second in range(20)]
    assert seen[0] == NO_TRACK
    assert set(seen[1:]) == {START_S * 100}


def test_ids_start_at_the_capture_time_in_hundredths_of_a_second_and_rise_by_one():
    camera = Camera()
    boxes = [moving(0, y=100.0 * row) for row in range(3)]
    camera.see(frame(0, boxes))
    assert sorted(camera.see(frame(0.2, boxes))) == [START_S * 100 + number for number in range(3)]
    assert START_S * 100 < 2**53


@settings(max_examples=30)
@given(GAPS)
def test_an_object_keeps_its_id_whatever_the_time_between_frames(gaps: list[float]):
    camera, ids = Camera(), []
    for seconds in np.cumsum([0.0, 0.2, 0.2, *gaps]):
        ids += camera.see(frame(seconds, [moving(seconds, speed=150)]))
    assert len(set(ids[1:])) == 1


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_an_object_that_moves_by_more_than_its_length_between_frames_keeps_its_id(fps: int):
    camera, ids = Camera(), []
    for number in range(3 * fps):
        ids += camera.see(frame(number / fps, [moving(number / fps, speed=250)]))
    assert len(set(ids[1:])) == 1


def test_two_objects_that_pass_each_other_keep_their_ids():
    camera, ids = Camera(), []
    for number in range(25):
        seconds = number / 5
        boxes = [moving(seconds, speed=100, y=200), moving(seconds, speed=-100, x=600, y=215)]
        ids.append(tuple(camera.see(frame(seconds, boxes))))
    assert len(set(ids[1:])) == 1
    assert len(set(ids[-1])) == 2


def test_a_frame_that_is_not_later_has_no_ids_and_changes_nothing():
    camera = Camera()
    for number in range(3):
        camera.see(frame(number / 5, [moving(number / 5)]))
    before = camera.state
    for seconds in (0.4, 0.2, -5.0):
        after, tracked = track(before, frame(seconds, [moving(seconds)]), TrackingSettings())
        assert after is before
        assert (tracked.ids, tracked.late, tracked.started) == ((NO_TRACK,), True, 0)
    assert camera.see(frame(0.6, [moving(0.6)])) == [START_S * 100]


def test_an_object_that_is_unseen_for_longer_than_lost_after_has_a_new_id():
    for unseen, same in ((1.49, True), (1.51, False)):
        camera = Camera()
        first = [camera.see(frame(number / 5, [moving(0)])) for number in range(10)][-1]
        again = [camera.see(frame(1.8 + unseen + number / 5, [moving(0)])) for number in range(2)][-1]
        assert (again == first) is same
        assert again[0] >= first[0]


def test_lost_after_is_an_option():
    camera = Camera(TrackingSettings(lost_after=10))
    first = [camera.see(frame(number / 5, [moving(0)])) for number in range(10)][-1]
    assert camera.see(frame(11, [moving(0)])) == first


def test_a_second_match_that_comes_too_late_begins_anew():
    camera = Camera()
    camera.see(frame(0, [moving(0)]))
    assert camera.see(frame(1.21, [moving(0)])) == [NO_TRACK]
    assert camera.see(frame(1.41, [moving(0)])) != [NO_TRACK]


def test_a_weak_box_continues_a_track_and_begins_none():
    camera = Camera()
    ids = [camera.see(frame(number / 5, [moving(0)], score=0.9 if number < 3 else 0.2))[0] for number in range(8)]
    assert set(ids[1:]) == {START_S * 100}
    alone = Camera()
    assert [alone.see(frame(number / 5, [moving(0)], score=0.49)) for number in range(5)] == [[NO_TRACK]] * 5
    assert len(alone.state) == 0


def test_a_box_below_low_is_ignored():
    camera = Camera(TrackingSettings(low=0.3))
    for number in range(3):
        camera.see(frame(number / 5, [moving(0)]))
    assert camera.see(frame(0.6, [moving(0)], score=0.29)) == [NO_TRACK]


def test_a_class_that_changes_for_a_frame_is_no_other_object():
    camera = Camera()
    ids = [camera.see(frame(n / 5, [moving(n / 5)], class_id=3 if n == 4 else 2))[0] for n in range(8)]
    assert set(ids[1:]) == {START_S * 100}
    assert [one.class_id for one in camera.state] == [2]


def test_of_two_boxes_in_one_place_the_one_of_its_class_continues_a_track():
    camera = Camera()
    for number in range(4):
        camera.see(frame(number / 5, [moving(number / 5)]))
    here = moving(0.8)
    both = ObservedFrame(frame(0.8).captured_at_ns, tuple(ObservedBox(*here, 0.9, kind) for kind in (0, 2)))
    assert camera.see(both) == [NO_TRACK, START_S * 100]


@settings(max_examples=30)
@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_the_boxes_makes_no_difference(frames: list[ObservedFrame], random):
    usual, shuffled = Camera(), Camera()
    for observed in frames:
        order = list(range(len(observed.boxes)))
        random.shuffle(order)
        mixed = ObservedFrame(observed.captured_at_ns, tuple(observed.boxes[index] for index in order))
        usual_ids, mixed_ids = usual.see(observed), shuffled.see(mixed)
        if len(set(observed.boxes)) == len(order):  # boxes that are equal in everything are interchangeable
            assert [usual_ids[index] for index in order] == mixed_ids
        assert usual.state.dump() == shuffled.state.dump()


@settings(max_examples=30)
@given(scenes())
def test_a_process_that_dies_after_any_frame_makes_no_difference(frames: list[ObservedFrame]):
    usual, mortal = Camera(), Camera()
    for observed in frames:
        assert usual.see(observed) == mortal.see(observed)
        mortal.restart()
    assert usual.state.dump() == mortal.state.dump()


@settings(max_examples=30)
@given(scenes(), st.floats(0.001, 0.019))
def test_frames_without_boxes_make_no_difference(frames: list[ObservedFrame], before: float):
    usual, other = Camera(), Camera()
    for observed in frames:
        ids = usual.see(observed)
        other.see(ObservedFrame(observed.captured_at_ns - round(before * 1e9), ()))
        ours = other.see(observed)
        assert [mine == NO_TRACK for mine in ours] == [theirs == NO_TRACK for theirs in ids]
        assert [_places(one.motion) for one in usual.state] == [_places(one.motion) for one in other.state]


def _places(motion: Motion) -> list[float]:
    return [place for place, *_ in motion]


@settings(max_examples=30)
@given(scenes())
def test_no_id_is_used_twice(frames: list[ObservedFrame]):
    camera, last_seen = Camera(), dict[int, int]()
    for observed in frames:
        next_id = camera.state.next_id
        ids = [one for one in camera.see(observed) if one != NO_TRACK]
        assert len(ids) == len(set(ids))
        for one in ids:
            if one in last_seen:
                assert observed.captured_at_ns - last_seen[one] <= 1.5e9
            else:
                assert one >= next_id
            last_seen[one] = observed.captured_at_ns
        assert all(one < camera.state.next_id < 2**53 for one in ids)
        assert camera.last.started == sum(one >= next_id for one in ids)


@settings(max_examples=30)
@given(scenes(), st.sampled_from([0.5, 2.0, 4.0]))
def test_a_picture_of_another_size_has_the_same_ids(frames: list[ObservedFrame], factor: float):
    usual, scaled = Camera(), Camera()
    for observed in frames:
        larger = tuple(
            ObservedBox(*(factor * side for side in box[:4]), box.score, box.class_id) for box in observed.boxes
        )
        assert usual.see(observed) == scaled.see(ObservedFrame(observed.captured_at_ns, larger))


def test_a_state_that_was_lost_or_is_old_leads_to_no_id_that_was_used():
    camera = Camera()
    for number in range(3):
        camera.see(frame(number / 5, [moving(0)]))
    old = camera.state.dump()
    for number in range(3, 40):
        camera.see(frame(number / 5, [moving(0, y=100.0 * (number % 7))]))
    used = camera.state.next_id
    for state in (CameraTracks.load(old), CameraTracks()):
        again = Camera()
        again.state = state
        again.see(frame(10, [moving(0)]))
        assert again.see(frame(10.2, [moving(0)]))[0] >= used


def test_the_tracks_that_are_kept_are_bounded():
    camera = Camera(TrackingSettings(lost_after=60))
    for number in range(4):
        boxes = [
            (x * 7.0, y * 7.0 + 2000 * number, x * 7.0 + 5, y * 7.0 + 5 + 2000 * number)
            for x in range(20)
            for y in range(10)
        ]
        camera.see(frame(number / 25, boxes))
    assert len(camera.state) == MOST_TRACKS
    assert all(one.seen_at_ns >= frame(1 / 25).captured_at_ns for one in camera.state)


def test_boxes_that_are_no_boxes_are_refused():
    for box in (ObservedBox(0, 0, math.nan, 1, 0.9, 2), ObservedBox(0, 0, 1, 1, math.inf, 2)):
        with pytest.raises(ValueError, match="not finite"):
            ObservedFrame(0, (box,))
