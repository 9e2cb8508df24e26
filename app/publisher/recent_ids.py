"""RecentIds: the ids of the events that were committed lately, with the tracks of their objects."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from app.publisher.spool.spool import REPEAT_WINDOW_S

MAX_REMEMBERED = 200_000
"""Ids remembered in memory at most; those of the last ten minutes are in the spool, however many."""


class RecentIds:
    """Remembers ids for as long as a repeat of them is recognised; used from one event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: OrderedDict[str, tuple[float, tuple[int | None, ...]]] = OrderedDict()
        """Until when an id is known, in monotonic seconds, and the tracks of its objects."""

    def remember(self, event_id: str, track_ids: tuple[int | None, ...]) -> None:
        """Remember an event that was committed just now."""
        self._known[event_id] = self._monotonic() + REPEAT_WINDOW_S, track_ids

    def find(self, event_id: str) -> tuple[int | None, ...] | None:
        """Return the tracks of an event's objects; ``None`` where its id is not known."""
        known = self._known.get(event_id)
        return None if known is None else known[1]

    def evict(self) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        now = self._monotonic()
        while self._known and (len(self._known) > MAX_REMEMBERED or next(iter(self._known.values()))[0] <= now):
            self._known.popitem(last=False)
