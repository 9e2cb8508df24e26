"""H264Stream: numbered pictures as H.264, and their packets on the wire (RFC 6184)."""

from __future__ import annotations

import base64
import functools
import re
import struct
from collections.abc import Iterator
from fractions import Fraction

import av

from tests.integration.streams.numbered import draw

_START_CODE = re.compile(b"\x00\x00\x00?\x01")
_SPS, _PPS, _FU_A = 7, 8, 28
PAYLOAD_TYPE = 96
CLOCK_HZ = 90_000


class H264Stream:
    """Encodes numbered pictures one by one, without delay; parameter sets come in-band with every key frame."""

    def __init__(self, width: int, height: int, keyframe_every: int) -> None:
        self.width, self.height = width, height
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base = Fraction(1, CLOCK_HZ)
        encoder.framerate = Fraction(25)
        encoder.gop_size = keyframe_every
        encoder.thread_count = 1
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1:scenecut=0"}
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
def parameter_sets(width: int, height: int) -> str:
    """Give the SDP's ``sprop-parameter-sets`` of a stream of that size."""
    nals = H264Stream(width, height, 1).encode(0)
    return ",".join(base64.b64encode(nal).decode() for nal in nals if nal[0] & 31 in (_SPS, _PPS))


class RtpPacketiser:
    """Splits NAL units into RTP packets: whole where they fit, fragments (FU-A) where they do not."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._sequence = 65_500  # so that a test soon sees it wrap

    def packets(self, nals: list[bytes], stamp: int) -> Iterator[bytes]:
        """Give the packets of one picture; the last one is marked."""
        payloads = [part for nal in nals for part in self._parts(nal)]
        for place, payload in enumerate(payloads):
            marker = 0x80 if place == len(payloads) - 1 else 0
            self._sequence = (self._sequence + 1) & 0xFFFF
            yield struct.pack(">BBHII", 0x80, marker | PAYLOAD_TYPE, self._sequence, stamp & 0xFFFFFFFF, 77) + payload

    def _parts(self, nal: bytes) -> Iterator[bytes]:
        if len(nal) <= self._most_bytes:
            yield nal
            return
        body, kind = nal[1:], nal[0] & 31
        for at in range(0, len(body), self._most_bytes):
            first, last = at == 0, at + self._most_bytes >= len(body)
            flags = (0x80 if first else 0) | (0x40 if last else 0)
            yield bytes([nal[0] & 0xE0 | _FU_A, flags | kind]) + body[at : at + self._most_bytes]


def sender_report(stamp: int, wall_s: float) -> bytes:
    """Give the RTCP report with which a camera tells the wall time of a timestamp."""
    ntp = int((wall_s + 2_208_988_800) * 2**32)
    return struct.pack(">BBHIQIII", 0x80, 200, 6, 77, ntp & (2**64 - 1), stamp & 0xFFFFFFFF, 1, 1)


def goodbye() -> bytes:
    """Give the RTCP report and BYE with which a sender ends its stream."""
    return struct.pack(">BBHI", 0x80, 201, 1, 77) + struct.pack(">BBHI", 0x81, 203, 1, 77)
