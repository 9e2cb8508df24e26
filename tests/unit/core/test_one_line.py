"""One line of a foreign error."""

from __future__ import annotations

import pytest

from app.core.one_line import one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("expected a key,\n   found\ta list\n"), "expected a key, found a list"),
        (ValueError(), "ValueError"),
        (ValueError(" \n "), "ValueError"),
        ("row 7\nmissing", "row 7 missing"),
    ],
)
def test_an_error_becomes_one_line(error: object, line: str):
    assert one_line(error) == line


def test_a_long_text_is_cut_where_that_is_asked_for():
    assert one_line(ValueError("word " * 100)) == " ".join(["word"] * 100)
    assert len(one_line(ValueError("word " * 100), 200)) == 200
