"""ScheduleSettings: at what times of the week a rule may start an incident."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from app.settings.connections import Frozen

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
_TIME = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError("allowed are IANA time zones, such as Europe/Berlin and UTC") from None
    return name


def _minute(value: object) -> object:
    """Return the minute of the day of ``HH:MM``; YAML reads 22:00 without quotes as the number 1320."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= DAY_MINUTES:
        return value
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    minute = int(match.group(1)) * 60 + int(match.group(2)) if match else DAY_MINUTES + 1
    if minute > DAY_MINUTES:
        raise ValueError("allowed are 00:00 to 24:00")
    return minute


Minute = Annotated[int, BeforeValidator(_minute)]
"""Minutes since local midnight."""


class ScheduleSettings(Frozen):
    """A span of local time on some days of the week."""

    tz: Annotated[str, AfterValidator(_zone)] = "UTC"
    """IANA time zone."""
    days: Annotated[tuple[Day, ...], Field(min_length=1)] = WEEK
    """The days on which the span starts."""
    start: Minute = Field(default=0, alias="from")
    """The first minute."""
    stop: Minute = Field(default=DAY_MINUTES, alias="to")
    """The minute that is no longer part of it; not later than ``start``: on the next day."""
