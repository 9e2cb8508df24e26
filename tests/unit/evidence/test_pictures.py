"""The pictures that are kept in memory."""

from __future__ import annotations

from app.evidence.pictures import PictureRing
from tests.support.evidence import SECOND, START_NS, picture_at


def seconds(ring: PictureRing, camera_id: str = "gate") -> list[float]:
    return [(one.captured_at_ns - START_NS) / SECOND for one in ring.since(camera_id, 0)]


def test_pictures_are_kept_for_so_many_seconds_of_capture_time():
    ring = PictureRing(2)
    for at_s in (0, 1, 2, 3, 4):
        ring.add(picture_at(at_s))
        ring.add(picture_at(at_s, "yard"))
    assert seconds(ring) == seconds(ring, "yard") == [2, 3, 4]
    ring.add(picture_at(10))
    assert seconds(ring) == [10]


def test_after_a_clock_was_set_back_the_pictures_of_before_are_dropped():
    ring = PictureRing(2)
    for at_s in (100, 101, 5, 6):
        ring.add(picture_at(at_s))
    assert seconds(ring) == [5, 6]


def test_at_the_limit_of_memory_the_camera_with_the_most_gives_up_its_oldest():
    ring = PictureRing(1000, memory_bytes=10_000)
    ring.add(picture_at(0, "calm", bytes(1000)))
    for at_s in range(50):
        ring.add(picture_at(at_s, "busy", bytes(1000)))
        assert ring.bytes <= 10_000
    assert seconds(ring, "calm") == [0]
    assert seconds(ring, "busy") == list(range(41, 50))
    assert ring.given_up == 41


def test_fifty_cameras_at_five_frames_a_second_stay_within_200_mb():
    ring = PictureRing(6)  # before: 5 s, and one more
    picture = bytes(120_000)  # of noise in 640 by 360; of a street it has 40 to 60 KB
    for number in range(50):
        for camera in range(50):
            ring.add(picture_at(number / 5, f"camera-{camera}", bytes(bytearray(picture))))
        assert ring.bytes <= 128 << 20
    assert min(len(seconds(ring, f"camera-{camera}")) for camera in range(50)) >= 20


def test_a_camera_that_is_forgotten_leaves_nothing():
    ring = PictureRing(6)
    ring.add(picture_at(0))
    ring.forget("gate")
    assert (ring.bytes, ring.cameras) == (0, [])
