"""The files of the live page, against the code that they follow."""

from __future__ import annotations

import re

from app.core.stage import ANSWER_STAGES
from tests.support.paths import ROOT

STATIC = ROOT / "app" / "web" / "static"


def test_the_page_shows_the_stages_of_an_answer_in_their_order():
    (meaning,) = re.findall(r"const MEANING = \{(.*?)\};", (STATIC / "page.js").read_text(), re.DOTALL)
    assert tuple(re.findall(r"(\w+): \"", meaning)) == ANSWER_STAGES


def test_every_stage_has_a_colour_of_its_own():
    style = (STATIC / "page.css").read_text()
    assert all(re.search(rf"\.{stage}\b", style) for stage in ANSWER_STAGES)
