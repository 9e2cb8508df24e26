"""Rows: the table "source kind, what was tried, result" that the README shows, made by the tests themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.rows import Rows
from tests.support.table import Table


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest, table: Table) -> Iterator[Rows]:
    made = Rows()
    yield made
    # A row of a test with parameters speaks for all of them: a run with failures makes no table.
    if table.path is not None and not request.session.testsfailed:
        table.write(made.lines())
