"""The sentences that report a trouble with Kafka: one each, and the documents show them as they are."""

from __future__ import annotations

import string

import pytest

from app.publisher.kafka.produce_errors import PRODUCE_ERRORS, Verdict, refusal
from app.publisher.kafka.troubles import Trouble
from tests.support.paths import ROOT


def shown(heading: str) -> dict[str, str]:
    """Return a table of the documents: trouble and sentence."""
    lines = (ROOT / "configs/README.md").read_text().splitlines()
    rows = lines[lines.index(heading) + 2 :]
    cells = (row.strip("|").split("|") for row in rows[: rows.index("")])
    return {name.strip(): sentence.strip().strip("`") for name, sentence, _ in cells}


def test_the_documents_show_every_trouble_with_the_sentence_that_the_code_has():
    table = shown("| trouble | sentence | what to do |")
    assert table == {trouble.title: trouble.sentence for trouble in Trouble}


def test_the_documents_show_every_refusal_of_an_event_with_its_sentence():
    refusals = [error for error in PRODUCE_ERRORS.values() if error.verdict is Verdict.REFUSED]
    table = shown("| answer of the broker | sentence | what to do |")
    assert table == {f"`{error.name}`": str(refusal(error.code)) for error in refusals}


@pytest.mark.parametrize("trouble", Trouble, ids=lambda trouble: trouble.name)
def test_a_sentence_is_one_line_in_which_no_brace_is_left(trouble: Trouble):
    names = [name for _, name, _, _ in string.Formatter().parse(trouble.sentence) if name]
    said = trouble.say(**{name: 7 if name == "seconds" else f"the-{name}" for name in names})
    assert "\n" not in said
    assert not set("{}") & set(said)
    assert all(f"the-{name}" in said for name in names if name != "seconds")
