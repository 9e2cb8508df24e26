"""A trouble that lasts is logged at once, summed up once a period, and its end is logged."""

from __future__ import annotations

import logging

import pytest

from app.telemetry.trouble_log import MAX_REASONS, TroubleLog


class Lines(logging.Handler):
    """A logger's lines, kept."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.log = logging.Logger("lines")
        self.log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


class Hands:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def trouble(lines: Lines, clock: Hands) -> TroubleLog:
    return TroubleLog(lines.log, "camera gate-1 unreachable", unit="tries", camera_id="gate-1", monotonic=clock)


def test_a_trouble_is_logged_at_once_then_once_a_period_with_its_count(trouble: TroubleLog, lines: Lines, clock: Hands):
    for _ in range(31):
        trouble.report("connection refused")
        clock.now += 4
    assert lines.texts == [
        "camera gate-1 unreachable: connection refused",
        "camera gate-1 unreachable, 15 tries in 60 s: connection refused",
        "camera gate-1 unreachable, 15 tries in 60 s: connection refused",
    ]


def test_its_end_is_logged_once_with_how_long_it_lasted(trouble: TroubleLog, lines: Lines, clock: Hands):
    trouble.report("connection refused")
    clock.now += 31
    trouble.resolve("camera gate-1 is live again")
    trouble.resolve("camera gate-1 is live again")
    assert lines.texts[1:] == ["camera gate-1 is live again after 31 s"]
    assert [record.levelno for record in lines.records] == [logging.WARNING, logging.INFO]


def test_nothing_is_over_that_never_was(trouble: TroubleLog, lines: Lines):
    trouble.resolve("camera gate-1 is live again")
    assert lines.texts == []


def test_a_trouble_that_comes_and_goes_is_logged_once_a_period_and_so_is_its_end(
    trouble: TroubleLog, lines: Lines, clock: Hands
):
    for _ in range(16):
        trouble.report("no frame for 5 s")
        clock.now += 1
        trouble.resolve("camera gate-1 is live again")
        clock.now += 3
    assert lines.texts == [
        "camera gate-1 unreachable: no frame for 5 s",
        "camera gate-1 is live again after 1 s",
        "camera gate-1 unreachable, 15 tries in 60 s: no frame for 5 s",
        "camera gate-1 is live again after 1 s",
    ]


def test_another_reason_is_logged_at_once_and_many_of_them_are_not(trouble: TroubleLog, lines: Lines):
    for number in range(100):
        trouble.report(f"port {number} refused")
    assert len(lines.texts) == MAX_REASONS
    assert lines.texts[1] == "camera gate-1 unreachable: port 1 refused"


def test_a_trouble_after_a_long_peace_is_a_new_one(trouble: TroubleLog, lines: Lines, clock: Hands):
    trouble.report("connection refused")
    trouble.report("connection refused")
    clock.now += 3600
    trouble.report("connection refused")
    assert lines.texts == ["camera gate-1 unreachable: connection refused"] * 2


def test_the_lines_have_their_camera_and_their_numbers_as_fields(trouble: TroubleLog, lines: Lines, clock: Hands):
    trouble.report("connection refused")
    clock.now += 59
    trouble.report("connection refused")
    clock.now += 1
    trouble.report("connection refused", place="live.py:7")
    fields = vars(lines.records[1])
    assert (fields["camera_id"], fields["repeats"], fields["seconds"], fields["place"]) == (
        "gate-1",
        2,
        60.0,
        "live.py:7",
    )


def test_the_stack_of_an_error_is_logged_only_with_a_line(trouble: TroubleLog, lines: Lines):
    for _ in range(5):
        try:
            raise ValueError("odd")
        except ValueError as error:
            trouble.report("an internal error", error=error)
    (record,) = lines.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError
