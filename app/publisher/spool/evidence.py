"""Evidence in the spool's transactions: what the spool calls, in the order of a transaction."""

from __future__ import annotations

import sqlite3
from typing import Protocol

from app.publisher.spool.analysis import JudgedFrame


class SpoolEvidence(Protocol):
    """The evidence of incidents; used from the spool's thread, and raises nothing but what SQLite raises."""

    def recover(self, database: sqlite3.Connection, now_ns: int) -> None:
        """Bring files and rows together once the spool is open; within a transaction. May raise OSError."""

    def enter(self, database: sqlite3.Connection, frame: JudgedFrame | None, at_ns: int) -> None:
        """Begin with a frame, which the analysis gets next; ``None``: a camera is gone. Within a transaction."""

    def committed(self) -> None:
        """Do what waited for the transaction's commit."""

    def rolled_back(self) -> None:
        """Undo what the transaction did outside of the database."""

    def tend(self, database: sqlite3.Connection, now_ns: int) -> None:
        """Take in what was made meanwhile, and keep to the quota; each second, within a transaction."""

    def close(self) -> None:
        """End the threads."""


class NoEvidence:
    """Keeps none."""

    def recover(self, database: sqlite3.Connection, now_ns: int) -> None:
        """Do nothing."""

    def enter(self, database: sqlite3.Connection, frame: JudgedFrame | None, at_ns: int) -> None:
        """Do nothing."""

    def committed(self) -> None:
        """Do nothing."""

    def rolled_back(self) -> None:
        """Do nothing."""

    def tend(self, database: sqlite3.Connection, now_ns: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
