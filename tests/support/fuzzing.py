"""What a hostile or broken client sends: hypothesis strategies for images and for whole ``Detect`` messages."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st
from PIL import Image

from app.rpc.sightline.inference.v1 import inference_pb2 as pb

CAMERAS = ("fuzz-1", "fuzz-2", "fuzz-3")


def _picture(mode: str, kind: str, size: tuple[int, int] = (48, 32), **options: object) -> bytes:
    noise = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    if mode == "I;16":
        image = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257)
    stream = io.BytesIO()
    (image if image.mode == mode else image.convert(mode)).save(stream, kind, **options)
    return stream.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _animated(kind: str) -> bytes:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (24, 24), colour) for colour in ("red", "blue")]
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


SOUND = (
    _picture("RGB", "JPEG"),
    _picture("RGB", "JPEG", progressive=True),
    _picture("RGB", "JPEG", exif=_turned(), subsampling=0, restart_marker_rows=1),
    _picture("L", "JPEG"),
    _picture("CMYK", "JPEG"),
    _picture("RGB", "JPEG", size=(320, 180)),
    _picture("RGB", "PNG"),
    _picture("RGBA", "PNG", exif=_turned()),
    _picture("P", "PNG"),
    _picture("I;16", "PNG"),
    _picture("1", "PNG"),
    _picture("LA", "PNG", icc_profile=b"\0" * 200),
    _animated("PNG"),
    _picture("RGB", "WEBP"),
    _picture("RGBA", "WEBP", lossless=True),
    _picture("RGB", "WEBP", exif=_turned()),
    _animated("WEBP"),
)
"""One image of every flavour."""
_SIDES = (0, 1, 7, 48, 640, 8000, 16383, 65535)


@dataclass(frozen=True)
class Edit:
    """One change of a file; ``place`` is a share of its length, or, below zero, a byte of its first hundred."""

    kind: str
    place: float
    length: int
    value: int

    def apply(self, data: bytes) -> bytes:
        at = int(-self.place * 100) if self.place < 0 else int(self.place * len(data))
        at = min(at, max(0, len(data) - 1))
        value = bytes([self.value & 0xFF])
        if self.kind == "flip":
            return data[:at] + bytes([data[at] ^ (self.value & 0xFF or 1)]) + data[at + 1 :] if data else b""
        if self.kind == "fill":
            return data[:at] + value * min(self.length, len(data) - at) + data[at + self.length :]
        if self.kind == "cut":
            return data[:at]
        if self.kind == "drop":
            return data[:at] + data[at + self.length :]
        if self.kind == "repeat":
            return data[:at] + data[at : at + self.length] * (2 + self.value % 50) + data[at + self.length :]
        if self.kind == "splice":
            other = SOUND[self.value % len(SOUND)]
            return data[:at] + other[int(abs(self.place) * len(other)) :]
        return resized(data, _SIDES[self.value % len(_SIDES)], _SIDES[self.length % len(_SIDES)])


def resized(data: bytes, width: int, height: int) -> bytes:
    """Let an image declare another size, checksums mended."""
    if data.startswith(b"\x89PNG") and len(data) > 33:
        header = data[12:16] + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        at = data.find(marker)
        if data.startswith(b"\xff\xd8") and 0 < at < len(data) - 9:
            return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]
    if data[12:16] == b"VP8 " and len(data) > 30:
        return data[:26] + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + data[30:]
    return data


edits = st.lists(
    st.builds(
        Edit,
        kind=st.sampled_from(("flip", "flip", "fill", "cut", "drop", "repeat", "splice", "resize")),
        place=st.floats(-1, 1, width=16),
        length=st.integers(0, 64),
        value=st.integers(0, 255),
    ),
    max_size=5,
)


def _edited(data: bytes, changes: list[Edit]) -> bytes:
    for change in changes:
        data = change.apply(data)
    return data[: 1 << 20]


mutated = st.builds(_edited, st.sampled_from(SOUND), edits)
"""An image with up to five changes; often none."""
images = st.one_of(mutated, mutated, mutated, st.binary(max_size=300))
_U64 = st.one_of(st.integers(0, 50), st.sampled_from((0, 1, 2**31, 2**32, 2**63, 2**64 - 1)))
_U32 = st.one_of(st.just(0), st.integers(0, 4000), st.sampled_from((1, 48, 32, 2**31, 2**32 - 1)))
_stamps = st.one_of(
    st.none(),
    st.builds(
        Timestamp,
        seconds=st.one_of(st.integers(1_700_000_000, 1_900_000_000), st.sampled_from((-(2**63), -1, 0, 2**63 - 1))),
        nanos=st.sampled_from((0, 1, 999_999_999, 10**9, -1, -(2**31), 2**31 - 1)),
    ),
)
_texts = st.one_of(st.just(""), st.text(max_size=40), st.sampled_from(("x" * 257, "ü" * 300_000, "a\0b", "../../etc")))
_labels = st.sampled_from(("car", "person", "dog"))
_plain = st.builds(pb.DetectRequest, camera_id=st.sampled_from(CAMERAS), image=images)
_odd = st.builds(
    pb.DetectRequest,
    camera_id=st.one_of(st.sampled_from(CAMERAS), _texts),
    frame_id=_texts,
    image=images,
    captured_at=_stamps,
    source_width=_U32,
    source_height=_U32,
    latency_budget_ms=st.one_of(st.just(0), st.integers(1, 5000), st.just(2**32 - 1)),
    epoch=_U64,
    sequence=_U64,
    encode_ms=st.floats(width=32),
    model=_texts,
    confidence=st.one_of(st.none(), st.floats(width=32)),
    classes=st.lists(st.one_of(_labels, _texts), max_size=3),
)
_one_odd_field = st.builds(lambda one, more: _merged(one, more), _plain, st.builds(
    pb.DetectRequest, captured_at=_stamps, epoch=_U64, sequence=_U64, encode_ms=st.floats(0, 1e6, width=32),
    model=st.sampled_from(("", "default", "ppe")), confidence=st.one_of(st.none(), st.floats(0, 1, width=32)),
    classes=st.lists(_labels, max_size=3),
))  # fmt: skip


def _merged(one: pb.DetectRequest, more: pb.DetectRequest) -> pb.DetectRequest:
    one.MergeFrom(more)
    return one


_messages = st.one_of(_plain, _plain, _one_odd_field, _odd).map(lambda message: message.SerializeToString())
_broken = st.one_of(
    st.builds(_edited, _messages, edits),
    st.binary(max_size=200),
    st.sampled_from(
        (
            b"\x0a\x02\xff\xfe",  # a camera_id that is no UTF-8
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a length of nearly 2^63
            b"\x1a\x05abc",  # an image shorter than its length
            b"\x22\x01" + b"\xff",  # a timestamp that is none
            b"\x0b" * 200,  # groups within groups
            b"\xff" * 64,
        )
    ),
)
messages = st.one_of(_messages, _messages, _messages, _broken)
"""The bytes of a request; every fourth is broken as a message, too."""
