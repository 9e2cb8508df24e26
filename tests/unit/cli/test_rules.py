"""``sightline rules``: a file checked and tried, and the rules of a running system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.analysis.rules.anomaly import anomaly_body
from app.analysis.rules.engine import apply_rules, make_camera_rules
from app.analysis.rules.frame import Frame
from app.analysis.rules.state import RulesState
from app.core.iso_time import iso_time
from app.settings.rule_lists import read_rules_file
from tests.support.command import call
from tests.unit.analysis.rules.scenes import along, film

RULES = """
rules:
  - {id: yard, type: intrusion, zone: [[0, 0.5], [1, 0.5], [1, 1], [0, 1]], start_after: %s}
  - {id: gate, type: line_crossing, line: [[0.5, 1], [0.5, 0]]}
"""
PATH = along((0, 0.2, 0.3), (3, 0.4, 0.3), (3.2, 0.45, 0.7), (6, 0.8, 0.7), (6.2, 0.8, 0.3), (9, 0.9, 0.3))


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES % 1)
    return file


def published(frame: Frame, anomalies: list[dict[str, object]]) -> dict[str, Any]:
    return {
        "timestamp": iso_time(frame.time_ms),
        "camera_id": frame.camera_id,
        "frame": {"width": frame.width, "height": frame.height},
        "detections": [
            {"class": one.label, "confidence": one.confidence, "bbox": list(one.bbox), "track_id": one.track_id}
            for one in frame.objects
        ],
        "anomalies": anomalies,
    }


def live(rules: Path) -> Iterator[dict[str, Any]]:
    """Yield events with what rules said of them."""
    ready, state = make_camera_rules(read_rules_file(rules), "cam"), RulesState()
    for frame in film({7: PATH}, 9):
        state, judgement = apply_rules(state, frame, ready)
        yield published(frame, [anomaly_body(one) for one in judgement.anomalies])


@pytest.fixture
def events(tmp_path: Path, rules: Path) -> Path:
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in live(rules)))
    return file


def test_a_file_that_is_right_is_said_to_be(rules: Path):
    done = call("rules", "check", str(rules))
    assert (done.returncode, done.stdout) == (0, f"{rules}: 2 rules, no mistake\n")


def test_a_mistake_is_one_line_and_status_2(rules: Path):
    rules.write_text(RULES % -1)
    done = call("rules", "check", str(rules))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sightline: rule 'yard': start_after: -1: input should be greater than or equal to 0\n"


def test_the_same_rules_give_the_same_transitions_byte_for_byte(rules: Path, events: Path):
    done = call("rules", "test", str(rules), "--events", str(events), "--fail-on-diff", "--json")
    reported = [one for event in live(rules) for one in event["anomalies"] if one["state"] != "active"]
    assert done.stdout == "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in reported)
    assert [one["state"] for one in reported] == ["instant", "new", "end"]
    assert done.returncode == 0


def test_other_rules_are_shown_beside_those_of_then(rules: Path, events: Path):
    rules.write_text(RULES % 5)
    done = call("rules", "test", str(rules), "--events", str(events))
    assert done.returncode == 0
    (yard,) = [line.split() for line in done.stdout.splitlines() if " yard " in line and "intrusion" in line]
    assert [cell for cell in yard if cell.isdigit()] == ["0", "1", "0", "1"]
    assert [line[:26] for line in done.stdout.splitlines() if line.startswith(("+", "-"))] == [
        "- 2026-01-01T00:00:03.200Z"
    ] * 2
    assert call("rules", "test", str(rules), "--events", str(events), "--fail-on-diff").returncode == 1


def test_a_track_is_lost_as_the_settings_say(rules: Path, tmp_path: Path):
    file = tmp_path / "hidden.jsonl"
    scene = film({7: lambda now: None if 5 <= now < 7 else (0.3, 0.7)}, 10)
    file.write_text("".join(json.dumps(published(frame, [])) + "\n" for frame in scene))
    for lost_after, told in (("1.5", ["new", "end", "new"]), ("3", ["new"])):
        shell = {"SIGHTLINE_TRACKING_LOST_AFTER": lost_after}
        done = call("rules", "test", str(rules), "--events", str(file), "--json", **shell)
        assert [json.loads(line)["state"] for line in done.stdout.splitlines()] == told


@pytest.mark.parametrize("line", ["{}", "[]", "no JSON", '{"frame": 5}'])
def test_a_line_that_is_no_event_is_named(rules: Path, events: Path, line: str):
    with events.open("a") as file:
        file.write(line + "\n")
    done = call("rules", "test", str(rules), "--events", str(events))
    assert done.returncode == 2
    assert done.stderr.startswith(f"sightline: {events}, line 47: not an event as published: ")
    assert done.stderr.count("\n") == 1


def test_a_file_of_events_that_is_not_there_is_one_line(rules: Path, tmp_path: Path):
    done = call("rules", "test", str(rules), "--events", str(tmp_path / "none.jsonl"))
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def test_the_rules_of_a_file_are_added_changed_and_removed(config: str, rules: Path):
    added = call("rules", "add", str(rules), "--config", config)
    assert (added.returncode, added.stdout.splitlines()) == (
        0,
        ["yard (intrusion) is added, for gate", "gate (line_crossing) is added, for gate"],
    )
    again = call("rules", "add", str(rules), "--config", config)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "sightline: there is a rule 'yard' already; nothing was added (--replace changes it)\n"
    rules.write_text(RULES % 9)
    changed = call("rules", "add", str(rules), "--replace", "--json", "--config", config)
    assert [json.loads(line)["settings"].get("start_after") for line in changed.stdout.splitlines()] == [9, None]
    removed = call("rules", "remove", "yard", "--config", config)
    assert (removed.returncode, removed.stdout) == (0, "yard is removed; its incidents have ended\n")
    gone = call("rules", "remove", "yard", "--config", config)
    assert (gone.returncode, gone.stderr) == (2, "sightline: there is no rule 'yard'\n")
    listed = [json.loads(line) for line in call("rules", "list", "--json", "--config", config).stdout.splitlines()]
    assert [(rule["id"], rule["origin"]) for rule in listed] == [("stop", "configured"), ("gate", "added")]
    table = call("rules", "list", "--config", config).stdout
    assert [word for word in ("stop", "stopped", "warning", "configured", "gate") if word not in table] == []


def test_a_mistake_in_one_rule_of_a_file_adds_none_of_it(config: str, rules: Path):
    rules.write_text(RULES.replace("line: [[0.5, 1], [0.5, 0]]", "line: [[0.5, 1]]") % 1)
    done = call("rules", "add", str(rules), "--config", config)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("sightline: rule 'gate': line")
    assert "yard" not in call("rules", "list", "--json", "--config", config).stdout


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        ((), "--events FILE, --from-topic: allowed is one of them, and one is needed"),
        (("--events", "x", "--from-topic"), "--events FILE, --from-topic: allowed is one of them, and one is needed"),
        (("--events", "x", "--since", "1h"), "--since: it goes with --from-topic; of a file all events are read"),
        (("--from-topic", "--since", "soon"), "--since: 'soon'; allowed are 90s, 30m, 12h and 7d ago, and an ISO 860"),
    ],
)
def test_where_the_events_come_from_is_one_thing(rules: Path, options: tuple[str, ...], reported: str):
    done = call("rules", "test", str(rules), *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"sightline: {reported}")
