"""Durations as people write them in settings: ``7d``, ``36h``, ``90m``, ``45s``, or a number of seconds."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MOST_S = 100 * 365 * 86_400.0
"""A century: more is a mistake of the unit."""


def parse_duration(value: object) -> timedelta:
    """Return a duration from seconds or from a number with its unit.

    >>> parse_duration("36h")
    datetime.timedelta(days=1, seconds=43200)

    Raises:
        ValueError: it is neither, not above 0, or longer than a century.
    """
    if isinstance(value, timedelta):
        return value
    seconds = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := _TEXT.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds is None or not 0 < seconds <= _MOST_S:
        raise ValueError("allowed are seconds above 0, or a number with s, m, h or d such as 7d")
    return timedelta(seconds=seconds)


def show_duration(value: timedelta) -> str:
    """Return a duration in the largest unit of which it has one, to three digits.

    >>> show_duration(timedelta(hours=36)), show_duration(timedelta(days=7)), show_duration(timedelta(minutes=10))
    ('1.5 d', '7 d', '10 min')
    """
    seconds = value.total_seconds()
    for unit, shown in (("d", "d"), ("h", "h"), ("m", "min")):
        if seconds >= _SECONDS[unit]:
            return f"{seconds / _SECONDS[unit]:.{_digits(seconds / _SECONDS[unit])}g} {shown}"
    return f"{seconds:.3g} s"


def _digits(number: float) -> int:
    """Return how many digits to show: three, and all before the point."""
    return max(3, len(str(int(number))))


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
