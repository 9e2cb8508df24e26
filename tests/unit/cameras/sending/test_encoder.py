from __future__ import annotations

from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from app.cameras.frame import EncodedFrame, SampledFrame
from app.cameras.sending.encoder import Encoder
from app.cameras.sources import Capture, RawFrame
from app.core.image_header import probe
from app.errors import ImageError
from app.simulation.spec import StreetSpec
from app.simulation.street import Street

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
NOON_NS = int(NOON.timestamp()) * 10**9


def encode(width: int, height: int, max_side: int | None, quality: int = 85) -> EncodedFrame:
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    sampled = SampledFrame("gate", "7-3", RawFrame.of(image, Capture(NOON_NS, 12.5)), epoch=7, sequence=4)
    return Encoder(max_side, quality).encode(sampled)


@pytest.mark.parametrize(
    ("size", "max_side", "sent"),
    [
        ((128, 72), 64, (64, 36)),
        ((72, 128), 64, (36, 64)),
        ((128, 72), 640, (128, 72)),
        ((128, 72), None, (128, 72)),
        ((1000, 3), 16, (16, 1)),
    ],
)
def test_the_longest_side_is_shrunk_and_never_enlarged(
    size: tuple[int, int], max_side: int | None, sent: tuple[int, int]
):
    encoded = encode(*size, max_side)
    header = probe(encoded.jpeg)
    assert (header.format, header.width, header.height) == ("jpeg", *sent)
    assert (encoded.source_width, encoded.source_height) == size


def test_what_identifies_the_frame_goes_along():
    encoded = encode(64, 48, None)
    assert (encoded.camera_id, encoded.frame_id, encoded.epoch, encoded.sequence) == ("gate", "7-3", 7, 4)
    assert (encoded.captured_at, encoded.captured) == (NOON, 12.5)
    assert encoded.encode_ms > 0


def test_the_quality_is_the_one_asked_for():
    assert len(encode(128, 128, None, 95).jpeg) > 2 * len(encode(128, 128, None, 30).jpeg)


def test_the_picture_survives():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = (250, 20, 20)
    encoded = Encoder(None, 90).encode(SampledFrame("a", "1", RawFrame.of(image, Capture(NOON_NS, 0.0)), 1, 1))
    back = cv2.imdecode(np.frombuffer(encoded.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(back.astype(int) - image).mean() < 5


def test_a_frame_that_jpeg_cannot_hold_is_an_image_error():
    image = np.zeros((2, 70_000, 3), np.uint8)
    with pytest.raises(ImageError, match="70000"):
        Encoder(None, 85).encode(SampledFrame("a", "1", RawFrame.of(image, Capture(NOON_NS, 0.0)), 1, 1))


def came_as(jpeg: bytes) -> SampledFrame:
    """Return a frame that the source delivers as JPEG."""

    def decoded() -> np.ndarray:
        return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)

    return SampledFrame("gate", "1", RawFrame(decoded, Capture(NOON_NS, 0.0), lambda: jpeg), 1, 1)


def street(quality: int, width: int = 320, height: int = 192) -> bytes:
    picture = Street(StreetSpec(seed=7, width=width, height=height)).frame(3).image
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def test_a_picture_that_came_as_a_jpeg_of_no_more_bytes_is_sent_as_it_came():
    given, encoder = street(80), Encoder(640, 85)
    first, second = encoder.encode(came_as(given)), encoder.encode(came_as(given))
    assert first.jpeg != given  # encoded to compare
    assert second.jpeg == given
    assert (second.source_width, second.source_height) == (320, 192)


def test_whether_a_jpeg_may_be_sent_as_it_came_is_looked_at_again_now_and_then():
    given, encoder = street(80), Encoder(None, 85)
    sent = [encoder.encode(came_as(given)).jpeg == given for _ in range(130)]
    assert [number for number, passed in enumerate(sent) if not passed] == [0, 64, 128]


@pytest.mark.parametrize(
    ("given", "max_side"),
    [
        pytest.param(street(98), 640, id="far longer than asked for"),
        pytest.param(street(80), 200, id="larger than max_side"),
        pytest.param(street(80)[:-40], 640, id="cut off"),
        pytest.param(street(80).replace(b"\xff\xc4", b"\xff\xe9"), 640, id="without its tables"),
    ],
)
def test_a_jpeg_that_the_service_would_read_otherwise_or_that_is_too_long_is_encoded_anew(given: bytes, max_side: int):
    encoder = Encoder(max_side, 85)
    picture = came_as(street(80)).raw
    frame = SampledFrame("gate", "1", RawFrame(picture.make_image, picture.captured, lambda: given), 1, 1)
    assert all(encoder.encode(frame).jpeg != given for _ in range(3))
