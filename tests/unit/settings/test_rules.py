"""Rules as their user writes them; a mistake is one line that names rule and field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.errors import SettingsError
from app.settings.rule_lists import RuleListSource, parse_rule, parse_rules, read_rules_file, rules_of_camera
from app.settings.rules import RULE_TYPES, Loitering, Stopped
from tests.support.paths import ROOT

ZONE = [[0.1, 0.6], [0.4, 0.6], [0.4, 0.9], [0.1, 0.9]]
FILE = """
rules:
  - id: bus-stop-parking
    type: stopped
    cameras: ["gate-*"]
    classes: [car, truck]
    zone: [[0.1, 0.6], [0.4, 0.6], [0.4, 0.9], [0.1, 0.9]]
    dwell: 60
    severity: warning
    evidence: [snapshot, clip]
    schedule: {tz: Europe/Berlin, days: [mon, tue, wed, thu, fri], from: 22:00, to: "06:00"}
"""
STOPPED = {"id": "bus", "type": "stopped"}
MISSING = object()


def mistake(**fields: Any) -> str:
    entry = {name: value for name, value in {**STOPPED, **fields}.items() if value is not MISSING}
    with pytest.raises(SettingsError) as caught:
        parse_rules([entry])
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_rules_file():
    (rule,) = RuleListSource(file=Path("rules.yaml")).parse(FILE, {}).entries
    assert isinstance(rule, Stopped)
    assert (rule.id, rule.classes, rule.dwell, rule.include_parked) == (
        "bus-stop-parking",
        ("car", "truck"),
        60.0,
        False,
    )
    assert rule.zone is not None
    assert rule.zone.points[1] == (0.4, 0.6)
    (span,) = rule.schedule
    assert (span.start, span.stop, span.tz) == (22 * 60, 6 * 60, "Europe/Berlin")
    assert [one.id for one in rules_of_camera([rule], "gate-7")] == ["bus-stop-parking"]
    assert rules_of_camera([rule], "yard") == ()


def test_the_defaults_are_those_of_the_type():
    rule = parse_rule({"id": "a", "type": "loitering", "zone": ZONE})
    assert isinstance(rule, Loitering)
    assert (rule.dwell, rule.end_after, rule.flicker, rule.margin, rule.anchor) == (30, 1, 0.5, 0.01, "bottom_center")
    assert (rule.cameras, rule.severity, rule.evidence, rule.max_gap, rule.cooldown) == (("*",), "warning", (), None, 0)


def test_a_zone_can_have_a_name():
    rule = parse_rule({**STOPPED, "zone": {"name": "bus stop", "points": ZONE}})
    assert rule.zone is not None
    assert rule.zone.name == "bus stop"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"dwell": -1}, "rule 'bus': dwell: -1: input should be greater than or equal to 0.1"),
        ({"type": MISSING}, f"rule 'bus': type: missing; allowed are {', '.join(RULE_TYPES)}"),
        ({"type": "parked"}, f"rule 'bus': type: 'parked'; allowed are {', '.join(RULE_TYPES)}"),
        ({"id": MISSING}, "rules[0]: id: missing; stopped needs it"),
        ({"id": 5}, "rules[0]: id: 5: input should be a valid string"),
        ({"zone": ZONE[:2]}, "rule 'bus': zone: 2 points; allowed are 3 to 100"),
        ({"zone": [[0, 0], [1, 1], [2, 0]]}, "rule 'bus': zone[2][0]: 2: input should be less than or equal to 1"),
        (
            {"zone": [[0, 0], [1, 1], [1, 0], [0, 1]]},
            "rule 'bus': zone: its edges cross; give the corners in their order around the zone",
        ),
        ({"zone": [[0, 0], [0.5, 0.5], [1, 1]]}, "rule 'bus': zone: it has no area"),
        (
            {"zone": [[0, 0], [1, 1], [1, 0], [0, 0]]},
            "rule 'bus': zone: a point is given twice; the last point is joined to the first by itself",
        ),
        ({"type": "intrusion"}, "rule 'bus': zone: missing; intrusion needs it"),
        ({"type": "line_crossing"}, "rule 'bus': line: missing; line_crossing needs it"),
        ({"type": "line_crossing", "line": [[0, 0], [0, 0]]}, "rule 'bus': line: its two points are the same"),
        ({"type": "wrong_way"}, "rule 'bus': direction: missing; wrong_way needs it"),
        ({"type": "speed", "limit": 50}, "rule 'bus': ground: missing; speed needs it"),
        (
            {"type": "speed", "limit": 50, "ground": {"points": ZONE, "metres": [[0, 0], [1, 0], [0, 1], [1, 1]]}},
            "rule 'bus': ground: metres: allowed are the corners of a convex quadrangle, in their order around it",
        ),
        (
            {"type": "crowd", "zone": ZONE, "count": 2, "hysteresis": 2},
            "rule 'bus': hysteresis: it must be smaller than count, or the incident never ends",
        ),
        (
            {"type": "class_count", "zone": ZONE, "counts": {"helmet": "0"}},
            "rule 'bus': counts: helmet: '0'; allowed are >=, <=, ==, !=, >, < and a number, such as \">=1\"",
        ),
        ({"type": "abandoned"}, "rule 'bus': classes: missing; abandoned needs it"),
        (
            {"type": "loitering", "zone": ZONE, "mode": "total", "window": 20},
            "rule 'bus': window: a window shorter than dwell can never hold it",
        ),
        (
            {"schedule": {"tz": "Europe/Nowhere"}},
            "rule 'bus': schedule.tz: 'Europe/Nowhere': allowed are IANA time zones, such as Europe/Berlin and UTC",
        ),
        ({"schedule": [{}, {"to": "24:01"}]}, "rule 'bus': schedule[1].to: '24:01': allowed are 00:00 to 24:00"),
        ({"severity": "high"}, "rule 'bus': severity: 'high': input should be 'info', 'warning' or 'alarm'"),
        ({"evidence": ["video"]}, "rule 'bus': evidence[0]: 'video': input should be 'snapshot' or 'clip'"),
        (
            {"cameras": ["gate 1"]},
            "rule 'bus': cameras: 'gate 1' is no camera id and no glob; a glob has *, ? or [abc] for characters of an "
            "id",
        ),
        ({"min_confidence": "much"}, "rule 'bus': min_confidence: 'much': input should be a valid number, unable to "
                                     "parse string as a number"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_rule_and_field(fields: dict[str, Any], line: str):
    assert mistake(**fields) == line


@pytest.mark.parametrize(("field", "kind"), [("start_after", "stopped"), ("dwel", "stopped"), ("count", "stopped")])
def test_a_field_of_another_type_is_a_mistake(field: str, kind: str):
    assert mistake(**{field: 3}).startswith(
        f"rule 'bus': {field}: not a field of {kind}; allowed are id, cameras, zone,"
    )


def test_an_id_that_is_given_twice_is_a_mistake():
    with pytest.raises(SettingsError, match="rule 'bus': id: given twice; ids are unique"):
        parse_rules([STOPPED, STOPPED])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rules: [", "is not YAML: "),
        ("cameras: []", "must hold one key, rules, with a list"),
        ("", "must hold one key, rules, with a list"),
        ("rules: {a: 1}", "must hold one key, rules, with a list"),
        ("rules: [5]", r"rules\[0\]: a int; allowed is a mapping with id and type"),
    ],
)
def test_a_file_that_is_no_list_of_rules_is_a_mistake(text: str, reason: str):
    with pytest.raises(SettingsError, match=reason):
        RuleListSource(file=Path("rules.yaml")).parse(text, {})


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"rules file .* cannot be read: "):
        read_rules_file(tmp_path / "rules.yaml")


def test_every_type_of_rule_has_its_name():
    assert all(model.model_fields["type"].annotation.__args__ == (name,) for name, model in RULE_TYPES.items())


def test_every_type_has_an_example_in_the_documentation_that_is_right():
    text = (ROOT / "configs" / "rules" / "README.md").read_text()
    (examples,) = re.findall(r"```yaml\n(rules:.*?)```", text, re.DOTALL)
    assert [rule.type for rule in RuleListSource(file=Path("README.md")).parse(examples, {}).entries] == list(
        RULE_TYPES
    )  # type: ignore[attr-defined]


def test_every_field_of_every_type_is_in_the_documentation():
    text = (ROOT / "configs" / "rules" / "README.md").read_text()
    fields = {field.alias or name for model in RULE_TYPES.values() for name, field in model.model_fields.items()}
    assert {field for field in fields if f"`{field}`" not in text} == set()
