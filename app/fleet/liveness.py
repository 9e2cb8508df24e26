"""LivenessProbe: decides whether an actor that had answered has stopped answering."""

from __future__ import annotations

MAX_UNANSWERED = 2
"""Calls in a row without an answer, each waited for in full. Calls are counted, not seconds: where this process itself
was suspended, the next call is answered."""


class LivenessProbe:
    """Counts the calls in a row that an actor left unanswered after it had answered before."""

    def __init__(self, patience_s: float) -> None:
        """Take the time-out of a call, in seconds."""
        self._patience_s = patience_s
        self._answered: object = None
        self._unanswered = 0

    def record(self, actor: object, *, answered: bool, waited_s: float) -> bool:
        """Record the outcome of a call, and return whether the actor counts as silent.

        Args:
            actor: the actor called; a new actor is counted from zero.
            answered: whether it answered.
            waited_s: how long the answer was waited for, in seconds. A call that fails sooner was refused by Ray, whose
                own failure detection is at work.
        """
        if answered:
            self._answered, self._unanswered = actor, 0
        elif actor is not self._answered:
            self._unanswered = 0  # it is starting, which has no time limit here
        elif waited_s >= self._patience_s:
            self._unanswered += 1
        return self._unanswered >= MAX_UNANSWERED
