"""Frame: what the rules see before and after publication is the same."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from app.analysis.rules.frame import frame_of_event, frame_of_published
from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.publisher.record import make_record

numbers = st.floats(min_value=-100, max_value=10_000, allow_nan=False)
objects = st.builds(
    DetectedObject,
    label=st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable()),
    class_id=st.integers(0, 100),
    confidence=st.floats(min_value=-0.1, max_value=1.1),
    bbox=st.tuples(numbers, numbers, numbers, numbers),
    track_id=st.none() | st.integers(0, 2**53 - 1),
)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(min_value=0, max_value=4_102_444_800_000_000_000),
    st.lists(objects, max_size=4).map(tuple),
)
def test_a_frame_is_the_same_before_and_after_its_event_is_published(
    captured_at_ns: int, seen: tuple[DetectedObject, ...]
):
    event = DetectionEvent("cam", "f", captured_at_ns, 1920, 1080, "m", seen, StageLatencies(0, 0, 0, 0, 0))
    published = json.loads(make_record(event, total_ms=1.0).value)
    assert frame_of_published(published) == frame_of_event(event)
