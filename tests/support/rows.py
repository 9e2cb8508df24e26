"""Rows: the table "source, what was tried, result", which tests make themselves and a run shows at its end."""

from __future__ import annotations

import pytest

_KEY = "sightline_rows"
_ROWS = pytest.StashKey["Rows"]()


class Rows:
    """Collects rows; a test adds its own once it has seen the result."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], str] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, kind: str, tried: str, result: str) -> None:
        """Add a row; of tests with parameters the first row of the same kind and trial is kept."""
        self._rows.setdefault((kind, tried), result)

    def lines(self) -> list[str]:
        """Return the lines of a markdown table, by source."""
        in_order = sorted(self._rows.items(), key=lambda row: row[0][0])
        rows = [f"| {kind} | {tried} | {result} |" for (kind, tried), result in in_order]
        return ["| source | what was tried | result |", "|---|---|---|", *rows]

    def dump(self) -> list[list[str]]:
        """Return the rows as one worker sends them to the process that shows them."""
        return [[kind, tried, result] for (kind, tried), result in self._rows.items()]


def rows_of(config: pytest.Config) -> Rows:
    """Return the rows of this run."""
    return config.stash.setdefault(_ROWS, Rows())


class RowsOfWorkers:
    """A plugin of a run with several processes (pytest-xdist): brings their rows together."""

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Send the rows, in a worker."""
        output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_KEY] = rows_of(session.config).dump()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take a worker's rows, in the process that shows them."""
        for row in getattr(node, "workeroutput", {}).get(_KEY, []):
            rows_of(node.config).add(*row)  # type: ignore[attr-defined]
