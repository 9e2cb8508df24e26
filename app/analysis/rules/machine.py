"""The state machine of (rule, subject): idle → pending → active → ending → idle.

pending → active is published as *new*, ending → idle as *end*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.analysis.rules.schedule import Schedule
from app.analysis.rules.state import ACTIVE, ENDING, HOLDING, IDLE, NEVER, PENDING, Subject, make_subject


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a rule, in milliseconds."""

    start_ms: int
    """The condition held for so long: *new*."""
    end_ms: int
    """It did not hold for so long: *end*."""
    flicker_ms: int
    """Not holding for no longer than this does not start the time again."""
    cooldown_ms: int
    """No *new* for so long after an end."""
    schedule: Schedule


def advance(
    subject: Subject,
    now_ms: int,
    step_ms: int,
    holds: bool | None,
    timing: Timing,
    memory: Any,
    ready: bool | None = None,
    began_ms: int | None = None,
    unseen_ms: int | None = None,
) -> Subject:
    """Return a subject after one more frame.

    Args:
        subject: as the frame before left it.
        now_ms: capture time of the frame.
        step_ms: by how much timers advance: the time since the frame before, but no more than the rule's ``max_gap``.
        holds: whether the condition holds; None: the subject is not seen.
        timing: the rule's times.
        memory: what the type of rule remembers after this frame.
        ready: whether a condition that holds has held for long enough; None: by ``timing.start_ms``.
        began_ms: when a condition that begins to hold with this frame began; None: with this frame.
        unseen_ms: by how much the time advances for which the subject is unseen; None: as the other timers.

    Returns:
        A subject that was active and is idle has ended at its ``ended_ms``.
    """
    status, since_ms, held_ms, false_ms, false_at_ms, ended_ms, incident, _ = subject
    if status == IDLE:
        if not holds or not timing.schedule.is_open(now_ms):
            return make_subject((IDLE, 0, 0, 0, 0, ended_ms, None, memory))
        status, since_ms, held_ms, false_ms = PENDING, now_ms if began_ms is None else began_ms, 0, HOLDING
    else:
        held_ms += step_ms
    if status == PENDING:
        if holds:
            false_ms = HOLDING
            long_enough = held_ms >= timing.start_ms if ready is None else ready
            if long_enough and (ended_ms == NEVER or now_ms >= ended_ms + timing.cooldown_ms):
                status = ACTIVE
        else:
            # From the first frame in which it does not hold: in a gap before that it may have held.
            false_ms = 0 if false_ms < 0 else false_ms + (step_ms if unseen_ms is None else unseen_ms)
            if false_ms > timing.flicker_ms:
                return make_subject((IDLE, 0, 0, 0, 0, ended_ms, None, memory))
    elif holds:
        status, false_ms = ACTIVE, HOLDING
    elif holds is False:
        if status == ACTIVE:
            status, false_ms, false_at_ms = ENDING, 0, now_ms
        else:
            false_ms += step_ms
        if false_ms >= timing.end_ms:
            return make_subject((IDLE, 0, 0, 0, 0, false_at_ms, None, memory))
    return make_subject((status, since_ms, held_ms, false_ms, false_at_ms, ended_ms, incident, memory))
