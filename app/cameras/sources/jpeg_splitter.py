"""JpegSplitter: finds the pictures of a Motion JPEG stream by their own bytes, whatever is written between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

START = b"\xff\xd8\xff"
"""The first bytes of a JPEG: the marker SOI, and the first byte of the next marker (ITU-T T.81, annex B)."""
MOST_BYTES = 32 << 20
"""What is longer is no picture; twice the limit of the inference service."""
_END = b"\xff\xd9"
_PADDING = 8
"""So many bytes may follow a picture's end within its announced length."""
_SCAN_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Within a scan: any marker but stuffing, fill bytes and restart markers."""
_LENGTH = re.compile(rb"content-length\s*:\s*(\d{1,9})", re.IGNORECASE)
_PART_HEADER = re.compile(rb"\r?\n?--[^\r\n]{1,200}\r?\n|\r?\n[^\r\n]{0,200}\r?\ncontent-", re.IGNORECASE)
"""A boundary line, or the first lines of a part's header."""
_HEADER_BYTES = 2048
_FIRST_MARKER = 0xC0
_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01


@dataclass(frozen=True, eq=False)
class Picture:
    """One JPEG of a stream."""

    data: bytes
    whole: bool = True
    """Whether it came to its end: its marker EOI, its announced length, or the next boundary."""


class JpegSplitter:
    """Collects bytes and returns the pictures that they complete.

    A picture runs from its marker SOI to its own EOI, found marker by marker, so that a thumbnail within it is not
    taken for it. An announced ``Content-Length`` is used where it agrees with the bytes, which costs less; neither
    boundary nor part type is needed. A picture that has no end is cut where the next one, or its header, begins.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = -1
        """Where the present picture begins; -1 while one is looked for."""
        self._at = 0
        """Where the search goes on."""
        self._in_scan = False
        self._length: int | None = None

    def feed(self, data: bytes) -> Iterator[Picture]:
        """Add bytes; yield the pictures that are complete now."""
        self._buffer += data
        while True:
            if self._start < 0 and not self._find_start():
                return
            picture = self._by_length() or self._by_markers()
            if picture is None:
                if self._start >= 0:
                    if len(self._buffer) > MOST_BYTES:
                        self._forget(self._start + len(START))
                    return
                continue
            yield picture

    def _find_start(self) -> bool:
        at = self._buffer.find(START, self._at)
        if at < 0:
            # What precedes the picture may announce its length.
            keep = max(0, len(self._buffer) - _HEADER_BYTES)
            del self._buffer[:keep]
            self._at = max(0, len(self._buffer) - len(START) + 1)
            return False
        announced = _LENGTH.findall(self._buffer, max(0, at - _HEADER_BYTES), at)
        self._length = int(announced[-1]) if announced else None
        del self._buffer[:at]
        self._start, self._at, self._in_scan = 0, 2, False
        return True

    def _by_length(self) -> Picture | None:
        if self._length is None or len(self._buffer) < self._length:
            return None
        if self._buffer.rfind(_END, max(0, self._length - len(_END) - _PADDING), self._length) < 0:
            self._length = None  # it is wrong, or the picture lacks its end: the markers tell
            return None
        return self._taken(self._length, whole=True)

    def _by_markers(self) -> Picture | None:
        while self._start >= 0:
            marker = self._next_marker()
            if marker is None:
                return None
            if marker == _EOI:
                return self._taken(self._at, whole=True)
            if marker == _SOI:
                return self._cut_short()
            if marker < _FIRST_MARKER and marker != _TEM:  # reserved: what looked like a start was none
                self._forget(len(START))
                return None
            stands_alone = 0xD0 <= marker <= 0xD7 or marker == _TEM
            if not stands_alone and not self._skip_segment(marker):
                return None
        return None

    def _next_marker(self) -> int | None:
        """Find the next marker and go behind it; ``None`` where more bytes are needed, or this is no JPEG."""
        if self._in_scan:
            found = _SCAN_MARKER.search(self._buffer, self._at)
            if found is None:
                self._at = max(self._at, len(self._buffer) - 1)
                return None
            self._at = found.end()
            return self._buffer[found.end() - 1]
        at = self._at
        while at < len(self._buffer) and self._buffer[at] == 0xFF:
            at += 1
        if at >= len(self._buffer):
            return None
        if at == self._at:  # no marker where one must be: what looked like a start was none
            self._forget(len(START))
            return None
        self._at = at + 1
        return self._buffer[at]

    def _skip_segment(self, marker: int) -> bool:
        """Go behind a segment; whether it was there."""
        if len(self._buffer) < self._at + 2:
            return self._again()
        length = int.from_bytes(self._buffer[self._at : self._at + 2], "big")
        if length < 2:
            self._forget(len(START))
            return False
        if len(self._buffer) < self._at + length:
            return self._again()
        self._at += length
        self._in_scan = marker == _SOS
        return True

    def _again(self) -> bool:
        self._at -= 2  # the marker is read once more when its segment is there
        return False

    def _cut_short(self) -> Picture:
        """Return a picture without an end, up to what follows it: a header, or the next picture."""
        end = self._at - 2
        header = _PART_HEADER.search(self._buffer, max(0, end - _HEADER_BYTES), end)
        return self._taken(header.start() if header else end, whole=header is not None)

    def _taken(self, length: int, *, whole: bool) -> Picture:
        picture = Picture(bytes(self._buffer[:length]), whole)
        self._forget(length)
        return picture

    def _forget(self, length: int) -> None:
        """Drop bytes from the front, and look for a start again."""
        del self._buffer[:length]
        self._start, self._at, self._length, self._in_scan = -1, 0, None, False
