"""The state machine of (rule, subject)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from app.analysis.rules.machine import Timing, advance
from app.analysis.rules.schedule import Schedule
from app.analysis.rules.state import ACTIVE, ENDING, IDLE, NEVER, PENDING, Incident, Subject

STATUS = {IDLE: "i", PENDING: "p", ACTIVE: "A", ENDING: "e"}
SIGNS = {"#": True, ".": False, "?": None}
STEP = 200


def timing(start: int = 1000, end: int = 1000, flicker: int = 500, cooldown: int = 0) -> Timing:
    return Timing(start, end, flicker, cooldown, Schedule())


def passes(signs: Iterable[str], times: Timing, *, step: int = STEP) -> tuple[str, Subject]:
    """Return the status after each frame, and the last subject; # holds, . does not, ? unseen."""
    subject, statuses = Subject(), ""
    for number, sign in enumerate(signs):
        subject = advance(subject, number * step, step, SIGNS[sign], times, None)
        statuses += STATUS[subject.status]
    return statuses, subject


@pytest.mark.parametrize(
    ("signs", "statuses"),
    [
        ("#######", "pppppAA"),  # a second is five intervals
        ("#####..", "ppppppp"),
        ("#####...", "pppppppp"),
        ("#####....", "ppppppppi"),
        ("##...###", "pppppAAA"),  # a flicker of half a second does not start the time again
        ("##....####", "pppppipppp"),
        ("##??###", "pppppAA"),
        ("##????####", "pppppipppp"),
        ("######.....#", "pppppAeeeeeA"),
        ("######......", "pppppAeeeeei"),
        ("######???????", "pppppAAAAAAAA"),  # whoever is unseen has not left
        ("######...???", "pppppAeeeeee"),
        ("??????", "iiiiii"),
    ],
)
def test_the_statuses(signs: str, statuses: str):
    assert passes(signs, timing())[0] == statuses


def test_the_times_are_those_of_the_first_frames():
    _, active = passes("..######", timing())
    assert (active.status, active.since_ms) == (ACTIVE, 400)
    _, ended = passes("..######..#.......", timing())
    assert (ended.status, ended.ended_ms) == (IDLE, 11 * STEP)


def test_without_times_it_starts_and_ends_at_once():
    assert passes("#.#.", timing(start=0, end=0))[0] == "AiAi"


def test_a_cooldown_holds_the_next_one_back_until_it_has_passed():
    statuses, last = passes("#.#######", timing(start=0, end=0, cooldown=1000))
    assert statuses == "AippppAAA"
    assert last.since_ms == 400


def test_a_gap_advances_the_timers_by_no_more_than_a_step():
    subject = Subject()
    for now_ms in (0, 200, 60_000):
        subject = advance(subject, now_ms, min(now_ms, 200), True, timing(), None)
    assert (subject.status, subject.held_ms) == (PENDING, 400)


def test_the_type_can_say_that_it_has_held_for_long_enough():
    assert advance(Subject(), 5000, 200, True, timing(), None, ready=True, began_ms=3000).since_ms == 3000
    assert advance(Subject(), 5000, 200, True, timing(start=0), None, ready=False).status == PENDING


def test_what_ended_keeps_its_memory_and_forgets_the_rest():
    subject = Subject(ACTIVE, 1, 2, 3, 4, NEVER, Incident("id", 5, 6.0, 7.0, (8,), ("car",)), "memory")
    assert advance(subject, 9000, 200, False, timing(end=0), "memory") == Subject(ended_ms=9000, memory="memory")
