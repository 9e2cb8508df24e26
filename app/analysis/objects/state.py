"""ObjectsState: what is remembered of the objects of one camera between two frames, and its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from app.analysis.rules.motion import Stay
from app.analysis.rules.state import NEVER
from app.analysis.stored_state import dump_state, load_state

VERSION = 1
"""Of the bytes; raised when the meaning of a field changes."""

PathPoint = tuple[int, float, float]
"""Capture time in milliseconds; x and y of the middle of the box's lower side, 0…1 of the frame."""
Crossing = tuple[str, str, int]
"""Line, direction, capture time in milliseconds."""


class Life(NamedTuple):
    """What is remembered of one object."""

    first_ms: int
    last_ms: int
    """When it was last seen."""
    label: str
    confidence: float
    """The greatest."""
    bbox: tuple[float, float, float, float]
    """The last one, in pixels."""
    path: tuple[PathPoint, ...]
    spacing_ms: int
    """The least time between two points of the path."""
    here: tuple[float, float]
    """Where it was last seen: as in the path, but not rounded."""
    inside: tuple[str, ...]
    """Zones it is in."""
    stayed: tuple[tuple[str, int], ...]
    """Zones it was in, and for how many milliseconds."""
    crossings: tuple[Crossing, ...]
    """The last ones."""
    stay: Stay
    stay_ms: int
    """Since when it is there."""
    stands: bool
    published_ms: int
    told: tuple[tuple[str, ...], bool]
    """The zones it was in and whether it stood when it was last published."""
    changed_ms: int
    """Since when that is no longer so; NEVER: it is so."""


# From a tuple of all fields, in a third of the time that the class itself takes.
make_life = partial(tuple.__new__, Life)


class ObjectsState(NamedTuple):
    """What is remembered of the objects of one camera."""

    time_ms: int = NEVER
    """Capture time of the last frame."""
    lives: dict[int, Life] = {}  # noqa: RUF012 (never changed: each frame makes its own)


def encode_objects(state: ObjectsState) -> bytes:
    """Return a state as bytes (MessagePack)."""
    return dump_state(VERSION, state)


def decode_objects(data: bytes) -> ObjectsState:
    """Return the state that :func:`encode_objects` made bytes of; equal, in the same order.

    Raises:
        StateUnreadable: the bytes are damaged, or of another version.
    """
    return load_state(data, VERSION, "objects", _build)


def _build(time_ms: int, lives: Mapping[int, Iterable[Any]]) -> ObjectsState:
    return ObjectsState(time_ms, {track_id: Life(*life) for track_id, life in lives.items()})
