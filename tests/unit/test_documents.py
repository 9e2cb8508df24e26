"""The documents: every link and citation leads somewhere, and what they repeat of the code is what the code says."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README_BYTES = 12_000
"""A first page that is read to its end; what it does not need is in documents of their own."""

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_CITATION = re.compile(r"``?([\w/.-]+\.md)``?, (?:\"([^\"]+)\"|decisions? (\d+))")
"""How code cites a document: (``proto/README.md``, "Status codes") or (``app/README.md``, decision 3)."""
_PATH = re.compile(r"(?<![\w./-])(?:app|configs|deployments|proto|tests)/[\w./-]*[\w/](?![\w*…{]|[./-]\w)")
_MODULE = re.compile(r"(?:python -m |:)((?:app|deployments|tests)(?:\.\w+)+)")
_DECISION = re.compile(r"^(\d+)\. \*\*", re.MULTILINE)


def tracked(*patterns: str) -> list[Path]:
    """Return the files that git tracks, or would track once added."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for name in sorted(set(listing.split("\0"))) if name and (path := ROOT / name).is_file()]


def prose(text: str) -> str:
    """Return a document without its blocks of code, in which a bracket is no link and ``#`` no heading."""
    return _FENCE.sub("", text)


@cache
def headings(document: Path) -> tuple[str, ...]:
    return tuple(re.sub(r"[`*]", "", found) for found in _HEADING.findall(prose(document.read_text())))


@cache
def anchors(document: Path) -> frozenset[str]:
    """Return the anchors that GitHub makes of a document's headings.

    Letters, digits, hyphens and underscores stay, spaces become hyphens; the second heading of a name gets ``-1``.
    """
    seen: Counter[str] = Counter()
    found = set()
    for heading in headings(document):
        text = _LINK.sub(lambda link: link.group(0)[1 : link.group(0).index("]")], heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def fault_of(link: str, document: Path) -> str | None:
    """Return what is wrong with a relative link of a document; ``None`` where it leads to what it names."""
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.is_relative_to(ROOT):
        return "leaves the repository"
    if not target.exists():
        return "nothing is there"
    if anchor and (target.suffix != ".md" or anchor not in anchors(target)):
        return "no such heading"
    return None


DOCUMENTS = tracked("*.md")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_relative_link_and_anchor_of_a_document_leads_somewhere(document: Path):
    links = _LINK.findall(_CODE.sub("", prose(document.read_text())))
    faults = {link: fault_of(link, document) for link in links if not _ELSEWHERE.match(link)}
    assert {link: fault for link, fault in faults.items() if fault} == {}


def test_a_link_to_a_missing_file_or_heading_is_found_out():
    readme = ROOT / "README.md"
    assert fault_of("configs/README.md#settings", readme) is None
    assert fault_of("configs/no-such-file.md", readme) == "nothing is there"
    assert fault_of("configs/README.md#no-such-heading", readme) == "no such heading"
    assert fault_of("../elsewhere.md", readme) == "leaves the repository"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_file_and_module_that_a_document_names_is_there(document: Path):
    text = _LINK.sub("", document.read_text())
    paths = {found for found in _PATH.findall(text) if not (ROOT / found).exists()}
    modules = {found for found in _MODULE.findall(text) if not module_is_there(found)}
    assert paths | modules == set()


def module_is_there(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def test_every_document_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in reached:
            continue
        reached.add(document)
        for link in _LINK.findall(_CODE.sub("", prose(document.read_text()))):
            target = (document.parent / link.partition("#")[0]).resolve()
            if not _ELSEWHERE.match(link) and target.suffix == ".md":
                waiting.append(target)
    assert {name(document) for document in DOCUMENTS} - {name(document) for document in reached} == set()


def test_the_readme_is_short_enough_to_be_read():
    assert len((ROOT / "README.md").read_bytes()) < README_BYTES


def rooms_of_the_test() -> dict[str, frozenset[str]]:
    """Return the table of ``test_rooms.py``, read and not imported: a test module imports none."""
    tree = ast.parse((ROOT / "tests/unit/test_rooms.py").read_text())
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "ROOMS"
    )
    literal = next(node for node in ast.walk(table) if isinstance(node, ast.Dict))
    return {room: frozenset(allowed.split()) for room, allowed in ast.literal_eval(literal).items()}


def test_the_table_of_rooms_is_the_one_that_the_imports_are_held_to():
    lines = (ROOT / "app/README.md").read_text().splitlines()
    begin = lines.index("| room | what is in it | imports |") + 2
    shown = {}
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        room, _, imports = (cell.strip() for cell in line.strip("|").split("|"))
        shown[room.strip("`")] = frozenset(re.findall(r"`(\w+)`", imports))
    assert shown == rooms_of_the_test()


def test_every_citation_of_a_document_names_a_heading_or_a_decision_that_is_there():
    """In docstrings and comments a line may break within a citation: white space and comment signs are one space."""
    cited, faults = 0, []
    for path in tracked("*.py", "*.yaml", "*.yml", "*.proto", "*.toml", "*.conf"):
        text = re.sub(r"\s+(?:#|//)?\s*", " ", path.read_text())
        for document, heading, decision in _CITATION.findall(text):
            target = ROOT / document
            cited += 1
            if not target.is_file():
                faults.append(f"{name(path)}: {document} is not there")
            elif heading and heading not in headings(target):
                faults.append(f"{name(path)}: {document} has no heading {heading!r}")
            elif decision and decision not in _DECISION.findall(target.read_text()):
                faults.append(f"{name(path)}: {document} has no decision {decision}")
    assert faults == []
    assert cited > 0


def test_code_cites_no_page_that_the_repository_does_not_have():
    absent = re.compile(r"\((?:contract|design), (?:sections?|decisions?) \d|(?:CONTRACT|DESIGN|ANALYTICS|HOUSE)\.md")
    found = {name(path): absent.findall(path.read_text()) for path in tracked("*.py", "*.yaml", "*.yml", "*.proto")}
    assert {path: texts for path, texts in found.items() if texts and path != name(Path(__file__))} == {}
