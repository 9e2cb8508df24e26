"""CameraTracks: what is kept of a camera from one frame to the next; it can be stored as bytes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app.errors import StateUnreadable

TRACK = np.dtype(
    [
        ("id", "<i8"),  # NO_TRACK until the second match
        ("seen_at_ns", "<i8"),  # capture time of the last match; everything below holds for that time
        ("class_id", "<i4"),
        ("class_weight", "<f4"),
        ("motion", "<f4", (5, 4)),  # as `Motion.moments` has it of each track
    ]
)
"""One track. Single precision keeps 1/1000 pixel of a picture 8,000 pixels wide and halves what is stored."""
MOST_TRACKS = 500
"""Tracks that are kept of one camera; when there are more, those not seen for longest end."""

_ID_PERIOD_NS = 10_000_000
"""Where no track is left, a camera's ids go on from Unix time in 1/100 s, if that is higher. So they are above all of
before even where the state was lost or is an old one, unless a hundred tracks a second got an id on average."""
_VERSION = 1
_HEADER = struct.Struct("<HHqqI")
"""Version, number of tracks, the last frame's capture time, the next id, CRC-32 of the tracks."""


@dataclass(frozen=True, eq=False)
class CameraTracks:
    """The tracks of one camera after its last frame; without arguments: of a camera that was never seen."""

    last_frame_ns: int = -(2**63)
    """Capture time of the last frame, nanoseconds since 1970 UTC."""
    next_id: int = 0
    """No id from here on was ever used."""
    tracks: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, TRACK))
    """(T,) of ``TRACK``, in an order that depends on the frames alone."""

    @property
    def active(self) -> int:
        """Number of tracks that have an id."""
        return int(np.count_nonzero(self.tracks["id"]))

    def skip_ids(self, now_ns: int) -> CameraTracks:
        """Return the same with a next id above all that a camera may have given until a time (Unix, nanoseconds)."""
        return replace(self, next_id=max(self.next_id, now_ns // _ID_PERIOD_NS))

    def dump(self) -> bytes:
        """Return the stored form: a header of 24 bytes and 104 bytes a track."""
        body = self.tracks.tobytes()
        return _HEADER.pack(_VERSION, len(self.tracks), self.last_frame_ns, self.next_id, zlib.crc32(body)) + body

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
        if len(body) != count * TRACK.itemsize or zlib.crc32(body) != checksum:
            raise StateUnreadable("stored tracks are damaged: length or checksum is wrong")
        return cls(last_frame_ns, next_id, np.frombuffer(body, TRACK))
