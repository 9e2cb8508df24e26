"""A time as events, incidents and objects have it."""

from __future__ import annotations

from datetime import UTC, datetime


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
