"""LivenessProbe: whether an actor that had answered has stopped answering."""

from __future__ import annotations

MOST_UNANSWERED = 2
"""Questions in a row, each waited for in full. They are counted, not seconds: if it is we who stood still, the next one
is answered."""


class LivenessProbe:
    """Counts the questions in a row that an actor left unanswered, which had answered before."""

    def __init__(self, patience_s: float) -> None:
        """Take how long an answer is waited for, in seconds."""
        self._patience_s = patience_s
        self._heard: object = None
        self._unanswered = 0

    def note(self, actor: object, *, answered: bool, waited_s: float) -> bool:
        """Take what came of a question; tell whether the actor is silent.

        Args:
            actor: who was asked; another one begins anew.
            answered: whether it answered.
            waited_s: for how long. One that fails sooner was refused by Ray, which knows more than we do.
        """
        if answered:
            self._heard, self._unanswered = actor, 0
        elif actor is not self._heard:
            self._unanswered = 0  # it starts, which may take as long as it takes
        elif waited_s >= self._patience_s:
            self._unanswered += 1
        return self._unanswered >= MOST_UNANSWERED
