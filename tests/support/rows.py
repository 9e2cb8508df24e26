"""Rows: the table "source kind, what was tried, result" that the README shows, made by the tests themselves."""

from __future__ import annotations


class Rows:
    """Collects rows; a test adds its own once it has seen the result."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], str] = {}

    def add(self, kind: str, tried: str, result: str) -> None:
        """Add a row; of tests with parameters the first row of the same kind and trial is kept."""
        self._rows.setdefault((kind, tried), result)

    def lines(self) -> list[str]:
        """Return the lines of a markdown table, by source."""
        in_order = sorted(self._rows.items(), key=lambda row: row[0][0])
        rows = [f"| {kind} | {tried} | {result} |" for (kind, tried), result in in_order]
        return ["| source | what was tried | result |", "|---|---|---|", *rows]
