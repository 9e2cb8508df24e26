"""NumberedStream: numbered pictures as H.264 or H.265, and their packets on the wire (RFC 6184, RFC 7798)."""

from __future__ import annotations

import base64
import functools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from tests.support.numbered import draw

_START_CODE = re.compile(b"\x00\x00\x00?\x01")
PAYLOAD_TYPE = 96
CLOCK_HZ = 90_000


@dataclass(frozen=True)
class Codec:
    """How a codec is encoded, described and split."""

    name: str
    encoder: str
    options: tuple[tuple[str, str], ...]
    header_bytes: int
    described: tuple[tuple[str, int], ...]
    """The keys under which its parameter sets are described, and their NAL types."""
    mode: str
    """What else is described."""

    def type_of(self, nal: bytes) -> int:
        return nal[0] & 31 if self.header_bytes == 1 else nal[0] >> 1 & 63

    def fragment_header(self, nal: bytes, flags: int) -> bytes:
        """Return the header of one fragment: FU-A in H.264, FU in H.265."""
        if self.header_bytes == 1:
            return bytes([nal[0] & 0xE0 | 28, flags | self.type_of(nal)])
        return bytes([nal[0] & 0x81 | 49 << 1, nal[1], flags | self.type_of(nal)])


H264 = Codec(
    "H264",
    "libx264",
    (("preset", "ultrafast"), ("tune", "zerolatency"), ("x264-params", "repeat-headers=1:scenecut=0")),
    1,
    (("sprop-parameter-sets", 7), ("sprop-parameter-sets", 8)),
    "packetization-mode=1",
)
H264_REFRESHED = replace(
    H264,
    options=(*H264.options[:2], ("x264-params", "repeat-headers=1:scenecut=0:intra-refresh=1")),
)
"""Without key frames but the first: a part of each picture is new, and all of it after ``keyframe_every`` pictures."""
H265 = Codec(
    "H265",
    "libx265",
    (
        ("preset", "ultrafast"),
        ("tune", "zerolatency"),
        ("x265-params", "repeat-headers=1:log-level=none:pools=none:frame-threads=1"),
    ),
    2,
    (("sprop-vps", 32), ("sprop-sps", 33), ("sprop-pps", 34)),
    "",
)


class NumberedStream:
    """Encodes numbered pictures one by one, without delay; parameter sets come in-band with every key frame."""

    def __init__(self, codec: Codec, width: int, height: int, keyframe_every: int) -> None:
        self.width, self.height = width, height
        encoder = av.CodecContext.create(codec.encoder, "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base = Fraction(1, CLOCK_HZ)
        encoder.framerate = Fraction(25)
        encoder.gop_size = keyframe_every
        encoder.thread_count = 1
        encoder.options = dict(codec.options)
        self._encoder = encoder
        self._count = 0

    def encode(self, number: int) -> list[bytes]:
        """Encode the picture of a number; its NAL units, without start codes."""
        frame = av.VideoFrame.from_ndarray(draw(number, self.width, self.height), format="bgr24")
        frame.pts, frame.time_base = self._count * CLOCK_HZ // 25, Fraction(1, CLOCK_HZ)
        self._count += 1
        data = b"".join(bytes(packet) for packet in self._encoder.encode(frame))
        return [nal for nal in _START_CODE.split(data) if nal]


@functools.cache
def parameter_sets(codec: Codec, width: int, height: int) -> str:
    """Return the SDP's parameters of a stream of that size."""
    values: dict[str, list[str]] = {}
    for key, kind in codec.described:
        for nal in NumberedStream(codec, width, height, 1).encode(0):
            if codec.type_of(nal) == kind:
                values.setdefault(key, []).append(base64.b64encode(nal).decode())
    pairs = [f"{key}={','.join(sets)}" for key, sets in values.items()]
    return ";".join([*([codec.mode] if codec.mode else []), *pairs])


class RtpPacketiser:
    """Splits NAL units into RTP packets: whole where they fit, in fragments where they do not."""

    def __init__(self, codec: Codec, most_bytes: int) -> None:
        self._codec = codec
        self._most_bytes = most_bytes
        self._sequence = 65_500  # so that a test soon sees it wrap

    def packets(self, nals: list[bytes], stamp: int) -> Iterator[bytes]:
        """Return the packets of one picture; the last one is marked."""
        payloads = [part for nal in nals for part in self._parts(nal)]
        for place, payload in enumerate(payloads):
            marker = 0x80 if place == len(payloads) - 1 else 0
            self._sequence = (self._sequence + 1) & 0xFFFF
            yield struct.pack(">BBHII", 0x80, marker | PAYLOAD_TYPE, self._sequence, stamp & 0xFFFFFFFF, 77) + payload

    def _parts(self, nal: bytes) -> Iterator[bytes]:
        if len(nal) <= self._most_bytes:
            yield nal
            return
        body = nal[self._codec.header_bytes :]
        for at in range(0, len(body), self._most_bytes):
            first, last = at == 0, at + self._most_bytes >= len(body)
            flags = (0x80 if first else 0) | (0x40 if last else 0)
            yield self._codec.fragment_header(nal, flags) + body[at : at + self._most_bytes]


def sender_report(stamp: int, wall_s: float) -> bytes:
    """Return the RTCP report with which a camera tells the wall time of a timestamp."""
    ntp = int((wall_s + 2_208_988_800) * 2**32)
    return struct.pack(">BBHIQIII", 0x80, 200, 6, 77, ntp & (2**64 - 1), stamp & 0xFFFFFFFF, 1, 1)


def goodbye() -> bytes:
    """Return the RTCP report and BYE with which a sender ends its stream."""
    return struct.pack(">BBHI", 0x80, 201, 1, 77) + struct.pack(">BBHI", 0x81, 203, 1, 77)
