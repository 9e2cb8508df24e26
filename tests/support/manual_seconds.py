"""A monotonic clock that stands until a test moves it."""

from __future__ import annotations


class ManualSeconds:
    """Returns ``now``, in seconds, when it is called."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
