"""The commands in the documents that look at a running system, or change it, as a reader would type them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_ASKS_A_RUNNING_SYSTEM = re.compile(
    r"(?:[A-Z_]+=\S+ )*"
    r"(?:serve (?:status|deploy|config|shutdown)|ray (?:status|list|summary|memory|logs|get-auth-token)"
    r"|sightline (?:status|events|cameras|rules|anomalies|snapshot|video|quarantine))\b"
)


@dataclass(frozen=True)
class DocumentedCommand:
    """One command as a document has it."""

    text: str
    in_block: bool
    """It stands in a block of shell commands; else it is a word of the text."""


def documents() -> list[Path]:
    """Return the documents that tell how to run a system; those of the tests tell of other things."""
    listing = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listing.split() if not name.startswith("tests/")]


def commands_of(text: str) -> Iterator[DocumentedCommand]:
    """Return the commands of a document, in its order: those of its blocks, then those of its text."""
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            command = re.split(r"\s+#", line)[0].strip()
            if _ASKS_A_RUNNING_SYSTEM.match(command):
                yield DocumentedCommand(command, in_block=True)
    for span in _SPAN.findall(_BLOCK.sub("", text)):
        if _ASKS_A_RUNNING_SYSTEM.match(span):
            yield DocumentedCommand(span, in_block=False)


def documented_commands() -> frozenset[DocumentedCommand]:
    """Return each different command of all documents."""
    return frozenset(command for document in documents() for command in commands_of(document.read_text()))


@dataclass(frozen=True)
class Typed:
    """How a reader types a command of the documents, and what then is printed."""

    line: str
    prints: str
    """A regular expression."""
    until_ctrl_c: bool = False
    """It goes on until it is interrupted."""
    into: str = ""
    """The file that it prints into, if it prints into one."""


_TOKEN = "RAY_AUTH_MODE=token"
"""What every document says that a second shell needs for Ray's own commands."""
_YARD = "sightline cameras add yard rtsp://viewer:"
IN_A_SECOND_SHELL: dict[str, Typed] = {
    "sightline status": Typed("sightline status", "2 of 2 cameras live"),
    "sightline status --json": Typed("sightline status --json", '"street-west"'),
    "sightline events": Typed("sightline events", r"street-\w+ +\d+ ms", until_ctrl_c=True),
    "sightline events --json --from-beginning > past.jsonl": Typed(
        "sightline events --json --from-beginning > past.jsonl",
        '"camera_id": ?"street-',
        until_ctrl_c=True,
        into="past.jsonl",
    ),
    "sightline events [--camera ID] [--from-beginning] [--count N]": Typed(
        "sightline events --camera street-east --from-beginning --count 3", "(?s)(.*street-east.*){3}"
    ),
    "sightline rules list": Typed("sightline rules list", "(?s)roadway.*near-pavement.*busy-roadway"),
    "sightline rules check new.yaml": Typed("sightline rules check new.yaml", "3 rules, no mistake"),
    "sightline rules check FILE": Typed("sightline rules check new.yaml", "no mistake"),
    "sightline rules test new.yaml --events past.jsonl --fail-on-diff": Typed(
        "sightline rules test new.yaml --events past.jsonl --fail-on-diff", "[1-9][0-9]* events"
    ),
    "sightline rules test FILE --events FILE.jsonl": Typed(
        "sightline rules test new.yaml --events past.jsonl", "[1-9][0-9]* events"
    ),
    "sightline rules test new.yaml --from-topic --since 12h": Typed(
        "sightline rules test new.yaml --from-topic --since 12h", "[1-9][0-9]* events"
    ),
    "sightline anomalies": Typed("sightline anomalies", "street-(?:east|west)"),
    "sightline anomalies [--active] [--camera ID] [--since 12h]": Typed(
        "sightline anomalies --camera street-east --since 12h", "street-east"
    ),
    "sightline anomalies [--active] [--follow]": Typed("sightline anomalies --follow", "street-", until_ctrl_c=True),
    "sightline snapshot street-east --out seen.jpg": Typed("sightline snapshot street-east --out seen.jpg", "seen.jpg"),
    "sightline snapshot CAMERA --out x.jpg": Typed("sightline snapshot street-west --out x.jpg", "x.jpg"),
    "sightline video CAMERA --seconds 10 --out x.mp4": Typed(
        "sightline video street-east --seconds 10 --out x.mp4", "x.mp4"
    ),
    "sightline quarantine list": Typed("sightline quarantine list", "^$"),
    "sightline quarantine resend --all": Typed("sightline quarantine resend --all", "^0 events"),
    "sightline cameras list": Typed("sightline cameras list", "(?s)street-east.*street-west"),
    f"{_YARD}secret@yard.example/1 --fps 2": Typed(f"{_YARD}secret@yard.example/1 --fps 2", "yard"),
    f"{_YARD}other@yard.example/1 --replace --stall-s 20 --mask '0,0 0.3,0 0.3,0.2 0,0.2'": Typed(
        f"{_YARD}other@yard.example/1 --replace --stall-s 20 --mask '0,0 0.3,0 0.3,0.2 0,0.2'", "yard"
    ),
    "sightline cameras remove street-west": Typed("sightline cameras remove street-west", "street-west"),
    "ray get-auth-token": Typed("ray get-auth-token", "[0-9a-f]{32}"),
    "ray status": Typed(f"{_TOKEN} ray status", "(?s)Active.*CPU"),
    "ray list actors": Typed(f"{_TOKEN} ray list actors", "(?s)KafkaPublisher.*ALIVE|ALIVE.*KafkaPublisher"),
    f"{_TOKEN} serve status": Typed(f"{_TOKEN} serve status", "(?s)cameras:.*RUNNING"),
    "serve status": Typed(f"{_TOKEN} serve status", "(?s)inference:.*RUNNING"),
    f"{_TOKEN} serve deploy serve_config.yaml": Typed(
        f"{_TOKEN} serve deploy serve_config.yaml", "(?i)sent deploy request successfully"
    ),
}
"""What is typed, in this order, beside a system that ``serve run`` started; ``new.yaml`` has its rules."""
ON_A_CLUSTER = (
    "ray get-auth-token --generate > /dev/null",
    "export RAY_AUTH_MODE=token",
    "ray start --head",
    "serve deploy serve_config.yaml",
    "serve shutdown --yes",
)
"""The block of ``deployments/README.md``, "A Ray cluster that runs already"."""
NAMES = frozenset(
    {
        "serve deploy",
        "serve shutdown",
        "sightline cameras add",
        "sightline quarantine",
        "sightline rules test",
        "sightline snapshot",
        "sightline video",
    }
)
"""What documents call a command without its arguments; each is run with them."""


def block_on_a_cluster() -> tuple[str, ...]:
    """Return the lines of the first block of shell commands in ``deployments/README.md``, without their comments."""
    (block, *_) = _BLOCK.findall((ROOT / "deployments" / "README.md").read_text())
    return tuple(re.split(r"\s+#", line)[0].strip() for line in block.splitlines())
