"""The header of an encoded image: format, size and orientation.

Nothing is decoded and no memory of the image's size is allocated, so an image that declares a huge size costs as
little as any other. The parsers follow ITU-T T.81 annex B (JPEG), the PNG specification, third edition, sections 5
and 11, RFC 9649 (WebP) and Exif 2.32 section 4.6 (orientation).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.errors import ImageError

MAX_ENCODED_BYTES = 16 * 1024 * 1024
"""Largest encoded size of an image."""
MAX_PIXELS = 64_000_000
"""Largest number of pixels that an image may declare."""
_MAX_SEGMENTS = 4096
_MAX_CHUNKS = 20_000
_MAX_EXIF_ENTRIES = 512
_MAX_SCANS = 100
_MAX_SCANNED_PIXELS = 1_000_000_000  # a decoder passes over the whole image in every scan, however empty it is
_MIN_RATIO = 1 / 1032  # the limit of deflate's compression
_ORIENTATION_TAG = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff+[^\xff]", re.DOTALL)
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_FOREIGN: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"GIF8"), "GIF"),
    (re.compile(rb"BM"), "BMP"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "TIFF"),
    (re.compile(rb"....ftyp(?:hei|hev|mif|msf)", re.DOTALL), "HEIC"),
    (re.compile(rb"....ftypavi", re.DOTALL), "AVIF"),
    (re.compile(rb"%PDF"), "PDF"),
)


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG is coded."""

    start_of_frame: int
    """Code of the start-of-frame marker: 0xC0 for baseline; the others are in ITU-T T.81, table B.1."""
    components: int
    has_tables: bool
    """Whether Huffman tables precede the image data: Motion JPEG may leave them out."""
    has_adobe: bool
    """Whether it has Adobe's segment, which can declare that the components are not YCbCr."""


@dataclass(frozen=True)
class ImageHeader:
    """What the header of one encoded image declares."""

    format: Literal["jpeg", "png", "webp"]
    width: int
    """Pixels, after the EXIF orientation is applied."""
    height: int
    """Pixels, after the EXIF orientation is applied."""
    orientation: int
    """EXIF orientation from 1 (as stored) to 8; 5 to 8 exchange width and height."""
    coding: JpegCoding | None = None
    """Of a JPEG only."""


def probe(data: bytes) -> ImageHeader:
    """Read the header of one JPEG, PNG or WebP image, and check that its end is present.

    Raises:
        ImageError: the image is empty, of another format, truncated or malformed, or over a limit; one line.
    """
    if not data:
        raise ImageError("the image is empty")
    if len(data) > MAX_ENCODED_BYTES:
        raise ImageError(f"the image is {len(data)} bytes long; allowed are {MAX_ENCODED_BYTES} bytes")
    kind = _format(data)
    try:
        width, height, orientation, coding = _PARSERS[kind](data)
    except (struct.error, IndexError):
        raise _truncated(kind) from None
    if width == 0 or height == 0:
        raise ImageError(f"the image declares a size of {width} × {height} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(f"the image declares {width} × {height} pixels; allowed are {MAX_PIXELS} pixels")
    if orientation >= 5:
        width, height = height, width
    return ImageHeader(kind, width, height, orientation, coding)


def _format(data: bytes) -> Literal["jpeg", "png", "webp"]:
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(_PNG_SIGNATURE):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    for pattern, name in _FOREIGN:
        if pattern.match(data):
            raise ImageError(f"the image is {name}; allowed are JPEG, PNG and WebP")
    raise ImageError("the bytes are no image; allowed are JPEG, PNG and WebP")


def _truncated(kind: str) -> ImageError:
    return ImageError(f"the {_NAMES[kind]} image is cut off before its end")


def _malformed(kind: str, what: str) -> ImageError:
    return ImageError(f"the {_NAMES[kind]} image is malformed: {what}")


@dataclass(frozen=True)
class _JpegFrame:
    code: int
    width: int
    height: int
    components: int

    @property
    def progressive(self) -> bool:
        return self.code & 3 == 2

    @property
    def min_bytes(self) -> int:
        """Huffman coding spends at least one bit on each block of 8 × 8 pixels."""
        return -(-self.width // 8) * -(-self.height // 8) // 8 if self.code <= 0xC2 else 0


def _jpeg(data: bytes) -> tuple[int, int, int, JpegCoding]:
    frame: _JpegFrame | None = None
    orientation, position = 0, 2
    tables = adobe = False
    for _ in range(_MAX_SEGMENTS):
        code, position, end = _jpeg_segment(data, position)
        if code in _START_OF_FRAME:
            if frame is not None:
                raise _malformed("jpeg", "it declares its size twice")
            height, width, components = struct.unpack_from(">HHB", data, position + 3)
            frame = _JpegFrame(code, width, height, components)
        elif code == 0xE1 and not orientation and data.startswith(b"Exif\0\0", position + 2):
            orientation = _exif_orientation(data[position + 8 : end])
        elif code == 0xDA:
            if frame is None:
                raise _malformed("jpeg", "it declares no size")
            _check_scans(data, end, frame, several=data[position + 2] < frame.components)
            coding = JpegCoding(frame.code, frame.components, tables, adobe)
            return frame.width, frame.height, orientation or 1, coding
        elif code == 0xC4:
            tables = True
        elif code == 0xEE:
            adobe = adobe or data.startswith(b"Adobe", position + 2)
        position = end
    raise _malformed("jpeg", f"it has more than {_MAX_SEGMENTS} segments")


def _jpeg_segment(data: bytes, position: int) -> tuple[int, int, int]:
    """Return the code of the marker at ``position``, and where its content begins and ends."""
    match = _MARKER.match(data, position)
    if match is None:
        raise _truncated("jpeg") if position >= len(data) - 1 else _malformed("jpeg", "a marker is missing")
    code, begin = data[match.end() - 1], match.end()
    if code in _WITHOUT_LENGTH:
        return code, begin, begin
    if code == 0:
        # Decoders search for the next marker from here on, and might find one inside what is parsed as content here.
        raise _malformed("jpeg", "a marker is missing")
    if code == 0xD9:
        raise _malformed("jpeg", "it ends before its picture")
    (length,) = struct.unpack_from(">H", data, begin)
    if length < 2:
        raise _malformed("jpeg", "a segment is shorter than its own length")
    if begin + length > len(data):
        raise _truncated("jpeg")
    return code, begin, begin + length


def _check_scans(data: bytes, position: int, frame: _JpegFrame, several: bool) -> None:
    """Check that the image's end follows its scans, and that they do not keep a decoder busy for ever."""
    # Entropy-coded data never contains a bare FF D9; anything may follow it, padding for instance.
    end = data.rfind(b"\xff\xd9", position)
    if end < 0:
        raise _truncated("jpeg")
    pixels = frame.width * frame.height
    if pixels <= MAX_PIXELS and end - position < frame.min_bytes:
        raise _truncated("jpeg")
    if several or frame.progressive:
        scans = 1 + data.count(b"\xff\xda", position)
        if scans > _MAX_SCANS or scans * pixels > max(_MAX_SCANNED_PIXELS, pixels):
            raise _malformed("jpeg", f"it has {scans} scans, too many for its size")


def _png(data: bytes) -> tuple[int, int, int, None]:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or length != 13:
        raise _malformed("png", "it does not begin with its header")
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise _truncated("png") if len(data) < 33 else _malformed("png", "its header is damaged")
    orientation, compressed, position = 1, 0, 8
    for _ in range(_MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        following = position + 12 + length
        if following > len(data):
            raise _truncated("png")
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            compressed += length
        elif kind == b"acTL":
            raise ImageError("the image is an animated PNG; allowed are still images")
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[position + 8 : following - 4]) or 1
        position = following
    else:
        raise _malformed("png", f"it has more than {_MAX_CHUNKS} chunks")
    if not compressed:
        raise _malformed("png", "it holds no picture")
    bits = data[24] * _PNG_CHANNELS.get(data[25], 1)
    if width * height <= MAX_PIXELS and compressed < width * height * bits / 8 * _MIN_RATIO:
        raise _truncated("png")
    return width, height, orientation, None


def _webp(data: bytes) -> tuple[int, int, int, None]:
    (riff,) = struct.unpack_from("<I", data, 4)
    end = riff + 8
    if end > len(data):
        raise _truncated("webp")
    kind, length = struct.unpack_from("<4sI", data, 12)
    if 20 + length > end:
        raise _truncated("webp")
    if kind != b"VP8X":
        return *_webp_bitstream(data, kind, 20), 1, None
    if data[20] & 0x02:
        raise ImageError("the image is an animated WebP; allowed are still images")
    canvas = (1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    return *canvas, _webp_chunks(data, canvas, 20 + length + length % 2, end), None


def _webp_chunks(data: bytes, canvas: tuple[int, int], position: int, end: int) -> int:
    """Return the orientation, and check the picture, in the chunks after a VP8X header."""
    orientation, picture = 1, False
    for _ in range(_MAX_SEGMENTS):
        if position + 8 > end:
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        content, position = position + 8, position + 8 + length + length % 2
        if content + length > end:
            raise _truncated("webp")
        if kind in (b"VP8 ", b"VP8L"):
            picture = True
            if _webp_bitstream(data, kind, content) != canvas:
                raise _malformed("webp", "its picture and its canvas differ in size")
        elif kind == b"EXIF":
            orientation = _exif_orientation(data[content : content + length].removeprefix(b"Exif\0\0")) or 1
    if not picture:
        raise _malformed("webp", "it holds no picture")
    return orientation


def _webp_bitstream(data: bytes, kind: bytes, content: int) -> tuple[int, int]:
    """Return the size of a lossy (RFC 6386, section 9.1) or lossless (RFC 9649, section 3) picture."""
    if kind == b"VP8 ":
        if data[content] & 1 or data[content + 3 : content + 6] != b"\x9d\x01\x2a":
            raise _malformed("webp", "its picture is no key frame")
        width, height = struct.unpack_from("<HH", data, content + 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, content)
        if signature != 0x2F:
            raise _malformed("webp", "its picture has no signature")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise _malformed("webp", "it holds no picture")


def _exif_orientation(tiff: bytes) -> int:
    """Return the orientation in EXIF data; 0 where there is none, or the data is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        magic, offset = struct.unpack_from(f"{order}HI", tiff, 2)
        (entries,) = struct.unpack_from(f"{order}H", tiff, offset)
        if magic != 42:
            return 0
        for index in range(min(entries, _MAX_EXIF_ENTRIES)):
            entry = offset + 2 + 12 * index
            (tag,) = struct.unpack_from(f"{order}H", tiff, entry)
            if tag == _ORIENTATION_TAG:
                (value,) = struct.unpack_from(f"{order}H", tiff, entry + 8)
                return int(value) if 1 <= value <= 8 else 0
    except struct.error:
        return 0
    return 0


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP"}
_PARSERS: Mapping[str, Callable[[bytes], tuple[int, int, int, JpegCoding | None]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
}
