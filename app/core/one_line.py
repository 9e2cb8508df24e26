"""One line of a foreign error: for a message or a log line of our own."""

from __future__ import annotations


def one_line(error: object, max_chars: int | None = None) -> str:
    """Return the text of an error in one line, cut to ``max_chars``; the name of its type where it has no text.

    >>> one_line(ValueError("expected a key,\\n    found a list"))
    'expected a key, found a list'
    >>> one_line(TimeoutError())
    'TimeoutError'
    >>> one_line("a long text", max_chars=6)
    'a long'
    """
    return " ".join(str(error).split())[:max_chars] or type(error).__name__
