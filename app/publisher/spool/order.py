"""Each camera's last committed frame, as the spool keeps it."""

from __future__ import annotations

import sqlite3

from app.publisher.spool.rows import OrderKey

KEEP_ORDER_KEY = (
    "INSERT INTO camera VALUES (?, ?, ?, ?) ON CONFLICT (camera_id) DO UPDATE SET epoch = excluded.epoch, "
    "sequence = excluded.sequence, at_ns = excluded.at_ns WHERE (excluded.epoch, excluded.sequence) > (epoch, sequence)"
)
"""Writes a camera's order key down, unless there is a later one."""


def read_order_keys(database: sqlite3.Connection) -> list[OrderKey]:
    """Return the last committed frame of each camera."""
    rows = database.execute("SELECT camera_id, epoch, sequence FROM camera")
    return [OrderKey(camera_id, _number(epoch), _number(sequence)) for camera_id, epoch, sequence in rows]


def write_order_key(database: sqlite3.Connection, key: OrderKey, at_ns: int) -> None:
    """Write a camera's order key down, whatever the one before is.

    The publisher decides the order. Where it has forgotten a camera that was idle, a lower epoch may come; the higher
    one must not come back at the next start and refuse the frames that were accepted since.
    """
    row = (key.camera_id, _stored(key.epoch), _stored(key.sequence), at_ns)
    database.execute("INSERT OR REPLACE INTO camera VALUES (?, ?, ?, ?)", row)


def _stored(number: int) -> int | bytes:
    """Return an unsigned 64-bit number as SQLite keeps it: its integers are signed, and any BLOB sorts above them.

    (https://www.sqlite.org/datatype3.html, "Sort Order"; big-endian, so that the BLOBs are in order as well.)
    """
    return number if number < 1 << 63 else number.to_bytes(8, "big")


def _number(stored: int | bytes) -> int:
    return int.from_bytes(stored, "big") if isinstance(stored, bytes) else stored
