"""Reads the recovery points of streams whose cameras refresh their pictures bit by bit, without key frames."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

_START_CODE = re.compile(rb"\x00\x00\x01")
_SEI: Mapping[str, tuple[int, int, int]] = {"h264": (1, 6, 0), "hevc": (2, 39, 1)}
"""Codec → bytes of a NAL unit's header, type of the units that hold SEI messages, bits by which the type is shifted."""
_RECOVERY_POINT = 6
_HEAD_BYTES = 4096
"""SEI messages come before the picture."""


def frames_to_recovery(data: bytes, codec: str) -> int | None:
    """Return after how many frames pictures are whole that are decoded from this packet on; ``None``: it does not say.

    Args:
        data: a packet of NAL units behind start codes.
        codec: FFmpeg's name of it.

    Source: the SEI message "recovery point" (ITU-T H.264, D.1.8 and D.2.8; ITU-T H.265, D.2.8 and D.3.8).
    """
    if codec not in _SEI:
        return None
    header_bytes, wanted, shift = _SEI[codec]
    head = data[:_HEAD_BYTES]
    starts = [match.end() for match in _START_CODE.finditer(head)]
    for start, end in itertools.pairwise([*starts, len(head)]):
        if start < end and head[start] >> shift & (31 if codec == "h264" else 63) == wanted:
            unescaped = head[start + header_bytes : end].replace(b"\x00\x00\x03", b"\x00\x00")
            for kind, payload in _messages(unescaped):
                if kind == _RECOVERY_POINT and payload:
                    number = _exp_golomb(payload)
                    # H.265 has a signed number there, in which 1, 2, 3 stand for 1, -1, 2 (9.2.2).
                    return number if codec == "h264" else (number + 1) // 2 if number % 2 else 0
    return None


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the payload of each SEI message (H.264, 7.3.2.3.1)."""
    at = 0
    while at + 2 <= len(data) and data[at] != 0x80:
        values = []
        for _ in range(2):
            value = 0
            while at < len(data) and data[at] == 0xFF:
                value, at = value + 255, at + 1
            value, at = value + (data[at] if at < len(data) else 0), at + 1
            values.append(value)
        kind, size = values
        yield kind, data[at : at + size]
        at += size


def _exp_golomb(data: bytes) -> int:
    """Return the first number of a bit string (H.264, 9.1: ``ue(v)``)."""
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1
