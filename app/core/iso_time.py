"""A time as events, incidents and objects have it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def iso_time(time_ms: int) -> str:
    """Return a time in milliseconds since 1970 UTC as ISO 8601 with milliseconds.

    >>> iso_time(1_767_225_600_042)
    '2026-01-01T00:00:00.042Z'

    Raises:
        ValueError: it is no date of the years 1 to 9999; or OverflowError or OSError, by the platform.
    """
    seconds, rest = divmod(time_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{rest:03d}Z"


def time_of_iso(text: str) -> int:
    """Return the milliseconds since 1970 UTC of a time as :func:`iso_time` writes it.

    >>> time_of_iso("2026-01-01T00:00:00.042Z")
    1767225600042

    Raises:
        ValueError: it is no such time.
    """
    return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
