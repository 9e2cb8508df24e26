"""Losses: evidence that is given up or cannot be taken in, written down with its reason, and told as trouble."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection

from app.errors import EvidenceRefused, ImageError
from app.evidence import rows
from app.evidence.item import EvidenceItem
from app.evidence.rows import Loss, State

SHOWN_S = 600.0
"""How long a loss that someone can do something about is told as trouble."""
_FULL = "the evidence spool is full (evidence.max_bytes): what is not stored yet is given up, clips first"


class Losses:
    """Written within the caller's transaction; used by one thread, but for the trouble."""

    def __init__(self, *, uploads: bool, monotonic: Callable[[], float]) -> None:
        """Begin without any; without a store (``uploads``) what is given up for room has only aged."""
        self._for_room = Loss.QUOTA if uploads else Loss.AGED
        self._monotonic = monotonic
        self._told: tuple[float, str] | None = None
        """The last one that someone can do something about: when, and what there is to say of it."""

    @property
    def trouble(self) -> str:
        """What was lost in the last minutes, where someone can do something about it; may be asked from any thread."""
        told = self._told
        return told[1] if told is not None and self._monotonic() - told[0] < SHOWN_S else ""

    def without_picture(self, database: Connection, item: EvidenceItem, now_ns: int) -> None:
        """Note that the frame with which an incident begins came without its picture."""
        rows.refuse(database, item, now_ns, Loss.NO_PICTURE, "the frame came without its picture")

    def not_taken(
        self, database: Connection, item: EvidenceItem, now_ns: int, error: EvidenceRefused | ImageError | OSError
    ) -> None:
        """Note that a picture could not be taken in."""
        if isinstance(error, OSError):
            reason = f"it cannot be written: {error.strerror}"
            rows.refuse(database, item, now_ns, Loss.UNWRITABLE, reason)
            self._tell(f"a picture or clip of an incident was lost: {reason}")
        else:
            loss = Loss.UNREADABLE if isinstance(error, ImageError) else Loss.TOO_LARGE
            rows.refuse(database, item, now_ns, loss, str(error))

    def gone(self, database: Connection, key: str, what: str = "file is") -> None:
        """Note that the bytes of some evidence are not there any more."""
        rows.lose(database, key, State.EXPIRED, Loss.GONE, f"its {what} gone")

    def given_up(self, database: Connection, key: str) -> None:
        """Note that some evidence was given up for room."""
        rows.lose(database, key, State.EXPIRED, self._for_room, "evidence.max_bytes was reached")
        if self._for_room is Loss.QUOTA:
            self._tell(_FULL)

    def no_film(self, database: Connection, key: str, reason: str) -> None:
        """Note that no film can be made of a clip."""
        rows.lose(database, key, State.REFUSED, Loss.NO_FILM, reason)

    def not_stored(self, database: Connection, key: str, reason: str) -> None:
        """Note that the store takes some evidence never."""
        rows.lose(database, key, State.REFUSED, Loss.STORE, reason)

    def _tell(self, trouble: str) -> None:
        self._told = self._monotonic(), trouble
