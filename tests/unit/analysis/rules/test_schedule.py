"""Schedule: local time, nights in which clocks change, spans over midnight."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.analysis.rules.schedule import Schedule
from app.settings.schedules import ScheduleSettings
from tests.unit.analysis.rules.scenes import ALL, film, judged, reported, stands


def is_open(utc: str, *spans: dict[str, Any]) -> bool:
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    schedule = Schedule([ScheduleSettings.model_validate(span) for span in spans])
    return schedule.is_open(int(moment.timestamp() * 1000))


NIGHT = {"from": "22:00", "to": "06:00"}
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        # Friday 2026-01-09, Berlin is UTC+1: the span begins on workdays, and ends on the day after.
        ("2026-01-09T20:59:59", False),
        ("2026-01-09T21:00:00", True),
        ("2026-01-10T04:59:59", True),  # Saturday morning is still Friday's night
        ("2026-01-10T05:00:00", False),
        ("2026-01-10T21:00:00", False),  # Saturday's night has none
        ("2026-01-11T23:30:00", False),  # Monday 00:30 belongs to Sunday
        ("2026-01-12T21:00:00", True),
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins(utc: str, expected: bool):
    assert is_open(utc, {"tz": "Europe/Berlin", "days": WORKDAYS, **NIGHT}) is expected


@pytest.mark.parametrize(
    ("zone", "span", "utc", "expected"),
    [
        # Berlin, 2026-03-29: at 02:00 (01:00 UTC) it is 03:00.
        ("Europe/Berlin", ("22:00", "06:00"), "2026-03-28T20:59", False),
        ("Europe/Berlin", ("22:00", "06:00"), "2026-03-28T21:00", True),
        ("Europe/Berlin", ("22:00", "06:00"), "2026-03-29T03:59", True),
        ("Europe/Berlin", ("22:00", "06:00"), "2026-03-29T04:00", False),
        ("Europe/Berlin", ("02:15", "02:45"), "2026-03-29T00:59", False),  # this half hour does not exist
        ("Europe/Berlin", ("02:15", "02:45"), "2026-03-29T01:00", False),
        ("Europe/Berlin", ("02:30", "03:30"), "2026-03-29T00:59", False),
        ("Europe/Berlin", ("02:30", "03:30"), "2026-03-29T01:00", True),  # 03:00
        ("Europe/Berlin", ("02:30", "03:30"), "2026-03-29T01:30", False),
        # Berlin, 2026-10-25: at 03:00 (01:00 UTC) it is 02:00 again.
        ("Europe/Berlin", ("22:00", "06:00"), "2026-10-24T19:59", False),
        ("Europe/Berlin", ("22:00", "06:00"), "2026-10-24T20:00", True),
        ("Europe/Berlin", ("22:00", "06:00"), "2026-10-25T04:59", True),
        ("Europe/Berlin", ("22:00", "06:00"), "2026-10-25T05:00", False),
        ("Europe/Berlin", ("02:00", "03:00"), "2026-10-24T23:59", False),
        ("Europe/Berlin", ("02:00", "03:00"), "2026-10-25T00:00", True),  # the first 02:00
        ("Europe/Berlin", ("02:00", "03:00"), "2026-10-25T01:59", True),  # the second 02:59
        ("Europe/Berlin", ("02:00", "03:00"), "2026-10-25T02:00", False),
        # New York, 2026-03-08: at 02:00 (07:00 UTC) it is 03:00.
        ("America/New_York", ("22:00", "06:00"), "2026-03-08T02:59", False),
        ("America/New_York", ("22:00", "06:00"), "2026-03-08T03:00", True),
        ("America/New_York", ("22:00", "06:00"), "2026-03-08T09:59", True),
        ("America/New_York", ("22:00", "06:00"), "2026-03-08T10:00", False),
        ("America/New_York", ("02:30", "03:30"), "2026-03-08T06:59", False),
        ("America/New_York", ("02:30", "03:30"), "2026-03-08T07:00", True),
        # New York, 2026-11-01: at 02:00 (06:00 UTC) it is 01:00 again.
        ("America/New_York", ("22:00", "06:00"), "2026-11-01T01:59", False),
        ("America/New_York", ("22:00", "06:00"), "2026-11-01T02:00", True),
        ("America/New_York", ("22:00", "06:00"), "2026-11-01T10:59", True),
        ("America/New_York", ("22:00", "06:00"), "2026-11-01T11:00", False),
        ("America/New_York", ("01:00", "02:00"), "2026-11-01T05:00", True),
        ("America/New_York", ("01:00", "02:00"), "2026-11-01T06:59", True),
        ("America/New_York", ("01:00", "02:00"), "2026-11-01T07:00", False),
    ],
)
def test_in_the_nights_in_which_clocks_change_the_clock_on_the_wall_counts(
    zone: str, span: tuple[str, str], utc: str, expected: bool
):
    assert is_open(utc, {"tz": zone, "from": span[0], "to": span[1]}) is expected


def test_several_spans_are_or_ed_and_none_is_always():
    morning, evening = {"from": "06:00", "to": "08:00"}, {"from": "18:00", "to": "20:00"}
    assert [is_open(f"2026-01-09T{hour:02}:00", morning, evening) for hour in (5, 7, 12, 19, 21)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert is_open("2026-01-09T12:00")


def test_a_span_without_times_is_the_whole_day():
    assert is_open("2026-01-10T00:00", {"days": ["sat"]})
    assert is_open("2026-01-10T23:59:59", {"days": ["sat"]})
    assert not is_open("2026-01-11T00:00", {"days": ["sat"]})


def test_the_start_counts_and_not_what_follows():
    """The scene begins at midnight UTC: the incident of 00:00 goes on after the span, that of 00:02 is none."""
    rule = {"type": "intrusion", "zone": ALL, "schedule": {"from": "00:00", "to": "00:01"}}
    scene = {1: stands(0.3, 0.5, until=90), 2: stands(0.6, 0.5, since=120, until=150)}
    assert reported(judged(rule, film(scene, 160))) == [("new", (1,), 0.0), ("end", (1,), 89.8, "track_lost")]


def test_what_was_there_before_the_span_starts_with_it():
    rule = {"type": "intrusion", "zone": ALL, "schedule": {"from": "00:01", "to": "00:02"}}
    assert reported(judged(rule, film({1: stands(0.3, 0.5)}, 70))) == [("new", (1,), 60.0)]


def test_a_capture_time_that_is_no_date_is_outside_every_span():
    span = ScheduleSettings.model_validate({})
    assert not Schedule([span]).is_open(10**18)
    assert Schedule().is_open(10**18)
