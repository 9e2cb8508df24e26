"""The journal of a clip that is being recorded: its pictures one after the other in a file, as they come.

What the process has written there survives its death (the operating system has it); a picture that was cut off is
left out by whoever reads the journal. So a clip can be made whatever ended the recording.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from app.core.event import DetectedObject
from app.evidence.pictures import JudgedPicture

_HEADER = struct.Struct("<qIIII")
"""Capture time in nanoseconds; width and height of the frame; bytes of the objects' JSON, and of the picture."""


def record_of(picture: JudgedPicture) -> bytes:
    """Return a picture as a record of a journal."""
    objects = json.dumps([[one.label, one.class_id, one.confidence, one.bbox, one.track_id] for one in picture.objects])
    found = objects.encode()
    header = _HEADER.pack(picture.captured_at_ns, picture.width, picture.height, len(found), len(picture.image))
    return header + found + picture.image


def append(journal: Path, picture: JudgedPicture) -> None:
    """Append a picture to a journal that is there.

    Raises:
        OSError: it is not there, or cannot be written.
    """
    with journal.open("r+b", buffering=0) as file:
        file.seek(0, 2)
        file.write(record_of(picture))


def pictures_of(journal: Path, camera_id: str) -> list[JudgedPicture]:
    """Return the whole pictures of a journal in the order of their capture, each once.

    Raises:
        OSError: it cannot be read.
    """
    found = {one.captured_at_ns: one for one in _records(journal.read_bytes(), camera_id)}
    return [found[at_ns] for at_ns in sorted(found)]


def _records(data: bytes, camera_id: str) -> Iterator[JudgedPicture]:
    start = 0
    while start + _HEADER.size <= len(data):
        at_ns, width, height, found, size = _HEADER.unpack_from(data, start)
        start += _HEADER.size
        end = start + found + size
        if end > len(data):
            return  # the process died while it wrote this one
        objects = tuple(
            DetectedObject(label, class_id, confidence, (bbox[0], bbox[1], bbox[2], bbox[3]), track_id)
            for label, class_id, confidence, bbox, track_id in json.loads(data[start : start + found])
        )
        yield JudgedPicture(camera_id, at_ns, width, height, objects, data[start + found : end])
        start = end
