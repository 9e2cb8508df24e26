"""CameraTracks: what is kept of a camera from one frame to the next, as it is stored."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from app.analysis.tracking.frame import NO_TRACK
from app.analysis.tracking.motion import Motion
from app.errors import StateUnreadable

MOST_TRACKS = 500
"""Tracks that are kept of one camera; when there are more, those not seen for longest end."""

_TRACK = struct.Struct("<qqif20f")
"""The numbers of a :class:`StoredTrack`; of its four filters first the places, then the velocities, and so on. Single
precision keeps 1/1000 pixel of a picture 8,000 pixels wide and halves what is stored."""
TRACK_BYTES = _TRACK.size
_ID = struct.Struct(f"<q{TRACK_BYTES - 8}x")
_ID_PERIOD_NS = 10_000_000
"""Where no track is left, a camera's ids go on from Unix time in 1/100 s, if that is higher. So they are above all of
before even where the state was lost or is an old one, unless a hundred tracks a second got an id on average."""
_VERSION = 1
_HEADER = struct.Struct("<HHqqI")
"""Version, number of tracks, the last frame's capture time, the next id, CRC-32 of the tracks."""


class StoredTrack(NamedTuple):
    """One track."""

    id: int
    """``NO_TRACK`` until the second match."""
    seen_at_ns: int
    """Capture time of the last match; everything below holds for that time."""
    class_id: int
    class_weight: float
    motion: Motion
    stored: bytes
    """The same as it is stored."""


# From a tuple of all fields, in a third of the time that the class itself takes.
_make_track = partial(tuple.__new__, StoredTrack)


def store_track(track_id: int, seen_at_ns: int, class_id: int, class_weight: float, motion: Motion) -> bytes:
    """Return the stored form of a track, of ``TRACK_BYTES``.

    Raises:
        struct.error, OverflowError: a number is beyond what can be stored.
    """
    (x, vx, xx, xv, vxvx), (y, vy, yy, yv, vyvy), (w, vw, ww, wv, vwvw), (h, vh, hh, hv, vhvh) = motion
    return _TRACK.pack(
        track_id, seen_at_ns, class_id, class_weight,
        x, y, w, h, vx, vy, vw, vh, xx, yy, ww, hh, xv, yv, wv, hv, vxvx, vyvy, vwvw, vhvh,
    )  # fmt: skip


@dataclass(frozen=True)
class CameraTracks:
    """The tracks of one camera after its last frame; without arguments: of a camera that was never seen."""

    last_frame_ns: int = -(2**63)
    """Capture time of the last frame, nanoseconds since 1970 UTC."""
    next_id: int = 0
    """No id from here on was ever used."""
    stored: bytes = b""
    """The tracks, in an order that depends on the frames alone."""

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.stored) // TRACK_BYTES

    def __iter__(self) -> Iterator[StoredTrack]:
        """Return the tracks, in their order."""
        at = 0
        for each in _TRACK.iter_unpack(self.stored):
            motion = (each[4::4], each[5::4], each[6::4], each[7::4])
            yield _make_track((*each[:4], motion, self.stored[at : at + TRACK_BYTES]))
            at += TRACK_BYTES

    @property
    def active(self) -> int:
        """Number of tracks that have an id."""
        return sum([track_id != NO_TRACK for (track_id,) in _ID.iter_unpack(self.stored)])

    def skip_ids(self, now_ns: int) -> CameraTracks:
        """Return the same with a next id above all that a camera may have given until a time (Unix, nanoseconds)."""
        return replace(self, next_id=max(self.next_id, now_ns // _ID_PERIOD_NS))

    def dump(self) -> bytes:
        """Return the stored form: a header of 24 bytes and 104 bytes a track."""
        return (
            _HEADER.pack(_VERSION, len(self), self.last_frame_ns, self.next_id, zlib.crc32(self.stored)) + self.stored
        )

    @classmethod
    def load(cls, stored: bytes) -> CameraTracks:
        """Return what ``dump`` stored, exactly.

        Raises:
            StateUnreadable: it is nothing that ``dump`` returned, or a later version of Sightline did.
        """
        if len(stored) < _HEADER.size:
            raise StateUnreadable(f"stored tracks are cut short: {len(stored)} bytes")
        version, count, last_frame_ns, next_id, checksum = _HEADER.unpack_from(stored)
        if version != _VERSION:
            raise StateUnreadable(f"stored tracks have version {version}; this Sightline reads version {_VERSION}")
        body = stored[_HEADER.size :]
        if len(body) != count * TRACK_BYTES or zlib.crc32(body) != checksum:
            raise StateUnreadable("stored tracks are damaged: length or checksum is wrong")
        return cls(last_frame_ns, next_id, body)
