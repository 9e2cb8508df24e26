"""Schedule: whether a rule may start an incident at a capture time, by local time on the wall."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from app.settings.schedules import WEEK, ScheduleSettings

_MINUTE_MS = 60_000


class Schedule:
    """Spans of local time, or-ed; without any: always open.

    Spans are compared with local time as a clock on the wall shows it. So in the night in which clocks go forward a
    span that begins in the hour that does not exist begins after it, and in the other night an hour that exists twice
    is twice within a span that has it. Zones change by whole minutes, so an answer holds for a minute.
    """

    def __init__(self, spans: Sequence[ScheduleSettings] = ()) -> None:
        self._spans = tuple((ZoneInfo(span.tz), span) for span in spans)
        self._minute = -1
        self._open = True  # of that minute: the same question comes for every object of every frame

    def is_open(self, time_ms: int) -> bool:
        """Return whether a time, in milliseconds since 1970 UTC, is within a span.

        >>> night = ScheduleSettings.model_validate({"tz": "Europe/Berlin", "from": "22:00", "to": "06:00"})
        >>> Schedule([night]).is_open(1_767_000_000_000)  # 2025-12-29, 09:20 UTC
        False
        """
        if not self._spans:
            return True
        minute = time_ms // _MINUTE_MS
        if minute != self._minute:
            self._open = any(_is_within(span, zone, minute) for zone, span in self._spans)
            self._minute = minute
        return self._open


def _is_within(span: ScheduleSettings, zone: ZoneInfo, utc_minute: int) -> bool:
    try:
        local = datetime.fromtimestamp(utc_minute * 60, zone)
    except (ValueError, OverflowError, OSError):  # a clock that is wrong by thousands of years
        return False
    minute = local.hour * 60 + local.minute
    today = WEEK[local.weekday()] in span.days
    if span.start < span.stop:
        return today and span.start <= minute < span.stop
    if minute >= span.start:
        return today
    return minute < span.stop and WEEK[local.weekday() - 1] in span.days
