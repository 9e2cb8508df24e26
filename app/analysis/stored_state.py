"""The stored form of a camera's state: MessagePack with a version, which keeps 64-bit floats and integers exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgpack

from app.errors import StateUnreadable

State = TypeVar("State")


def dump_state(version: int, fields: Iterable[object]) -> bytes:
    """Return the fields of a state as bytes."""
    packed: bytes = msgpack.packb((version, *fields))
    return packed


def load_state(data: bytes, version: int, what: str, build: Callable[..., State]) -> State:
    """Return the state that ``build`` makes of the fields; sequences come as tuples.

    Args:
        data: what :func:`dump_state` returned.
        version: the one that is read.
        what: whose state it is, in a message.
        build: takes the fields; a TypeError, ValueError or AttributeError of it says that they are damaged.

    Raises:
        StateUnreadable: the bytes are damaged, or of another version.
    """
    unreadable = f"the state of a camera's {what} cannot be read"
    try:
        found, *fields = _unpack(data)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StateUnreadable(f"{unreadable}: {type(error).__name__}") from None
    if found != version:
        raise StateUnreadable(f"the state of a camera's {what} has version {found!r}; version {version} is read")
    try:
        return build(*fields)
    except (AttributeError, TypeError, ValueError) as error:
        raise StateUnreadable(f"{unreadable}: {type(error).__name__}") from None


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, use_list=False, strict_map_key=False)
