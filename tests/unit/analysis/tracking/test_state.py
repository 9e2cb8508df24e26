"""CameraTracks: the stored form is exact, compact, and refused when it is damaged."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis.tracking.state import TRACK_BYTES, CameraTracks, store_track
from app.errors import StateUnreadable
from tests.unit.analysis.tracking.scenes import Camera, frame, moving


@cache
def followed() -> CameraTracks:
    camera = Camera()
    for number in range(3):
        camera.see(frame(number / 5, [moving(number / 5, y=100.0 * row) for row in range(5)]))
    return camera.state


@given(st.binary(max_size=3 * TRACK_BYTES), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**53))
def test_any_state_comes_back_exactly(noise: bytes, last_frame_ns: int, next_id: int):
    state = CameraTracks(last_frame_ns, next_id, noise[: len(noise) // TRACK_BYTES * TRACK_BYTES])
    assert CameraTracks.load(state.dump()) == state
    assert len(state) == len(list(state)) == len(noise) // TRACK_BYTES


def test_a_track_is_what_was_stored():
    for one in followed():
        assert store_track(one.id, one.seen_at_ns, one.class_id, one.class_weight, one.motion) == one.stored


def test_a_camera_that_was_never_seen_comes_back():
    assert CameraTracks.load(CameraTracks().dump()).dump() == CameraTracks().dump()


def test_five_tracks_are_some_half_a_kilobyte():
    state = followed()
    assert state.active == 5
    assert len(state.dump()) == 24 + 5 * 104


@given(st.data())
def test_a_damaged_byte_is_found(data: st.DataObject):
    stored = bytearray(followed().dump())
    header = 4  # version and number; times and ids may have any value
    place = data.draw(st.one_of(st.integers(0, header - 1), st.integers(20, len(stored) - 1)))
    stored[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateUnreadable):
        CameraTracks.load(bytes(stored))


@given(st.integers(0, 543))
def test_what_is_cut_short_is_refused(length: int):
    with pytest.raises(StateUnreadable):
        CameraTracks.load(followed().dump()[:length])


def test_another_version_is_named():
    stored = followed().dump()
    with pytest.raises(StateUnreadable, match=r"version 2; this Sightline reads version 1"):
        CameraTracks.load(b"\x02" + stored[1:])
