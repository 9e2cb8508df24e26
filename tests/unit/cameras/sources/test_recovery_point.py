"""Recovery points, read from what real encoders write."""

from __future__ import annotations

import pytest

from app.cameras.sources.recovery_point import frames_to_recovery
from tests.support.h264 import H264, H264_REFRESHED, H265, Codec, NumberedStream


def recoveries(codec: Codec, name: str, frames: int = 60) -> list[int | None]:
    """Encode pictures, with a refresh of 20, and read the recovery point of each."""
    stream = NumberedStream(codec, 320, 192, 20)
    return [frames_to_recovery(packet(stream.encode(number)), name) for number in range(frames)]


def packet(nals: list[bytes]) -> bytes:
    return b"".join(b"\0\0\0\1" + nal for nal in nals)


def test_a_camera_that_refreshes_its_pictures_says_when_they_are_whole():
    found = [number for number in recoveries(H264_REFRESHED, "h264") if number is not None]
    assert len(found) >= 2
    assert all(0 <= number <= 20 for number in found)
    assert any(found)


@pytest.mark.parametrize(("bits", "frames"), [(0b1_1_0_00000, 0), (0b00100_1_00, 2), (0b00101_1_00, 0)])
def test_the_signed_number_of_h265_is_read(bits: int, frames: int):
    """No encoder here writes it: the message as ITU-T H.265, D.2.8 has it, for 0, 2 and -2."""
    assert frames_to_recovery(b"\0\0\1\x4e\1\6\1" + bytes([bits]) + b"\x80", "hevc") == frames


@pytest.mark.parametrize(("codec", "name"), [(H264, "h264"), (H265, "hevc"), (H264, "mjpeg")])
def test_a_camera_with_key_frames_says_nothing_of_it(codec: Codec, name: str):
    assert set(recoveries(codec, name)) == {None}


@pytest.mark.parametrize(
    "data", [b"", b"\0\0\1", b"\0\0\1\x06", b"\0\0\1\x06\xff\xff", b"\0\0\1\x06\x06\x01", bytes(99)]
)
def test_what_is_cut_off_is_no_recovery_point(data: bytes):
    assert frames_to_recovery(data, "h264") is None
    assert frames_to_recovery(data, "hevc") is None
