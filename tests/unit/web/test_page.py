"""The files of the live page, against the code that they follow."""

from __future__ import annotations

import re

from app.core.stage import ANSWER_STAGES
from app.settings.rules import SEVERITIES
from app.web.page import PAGE_FILES
from tests.support.paths import ROOT

STATIC = ROOT / "app" / "web" / "static"


def test_the_page_shows_the_stages_of_an_answer_in_their_order():
    (meaning,) = re.findall(r"const MEANING = \{(.*?)\};", (STATIC / "page.js").read_text(), re.DOTALL)
    assert tuple(re.findall(r"(\w+): \"", meaning)) == ANSWER_STAGES


def test_every_stage_has_a_colour_of_its_own():
    style = (STATIC / "page.css").read_text()
    assert all(re.search(rf"\.{stage}\b", style) for stage in ANSWER_STAGES)


def test_every_severity_has_its_sign_in_order_and_what_is_worse_than_a_note_its_colour():
    (signs,) = re.findall(r"const SIGNS = \{(.*?)\};", (STATIC / "incidents.js").read_text())
    assert tuple(re.findall(r"(\w+): \"", signs)) == SEVERITIES
    style = (STATIC / "page.css").read_text()
    assert all(f"[data-severity={severity}]" in style and f".{severity}" in style for severity in SEVERITIES[1:])


def test_every_module_that_a_script_imports_is_served_and_every_file_that_lies_there():
    scripts = [(STATIC / name).read_text() for name in PAGE_FILES.values() if name.endswith(".js")]
    imported = {name for text in scripts for name in re.findall(r'from "\./([\w.]+)";', text)}
    assert imported == {"elements.js", "evidence.js", "incidents.js"}
    assert imported <= set(PAGE_FILES.values()) == {file.name for file in STATIC.iterdir()}
