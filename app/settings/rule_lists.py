"""RuleListSource: where the rules are configured; it is read at the start and again while the system runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from app.core.one_line import one_line
from app.core.validation import InvalidValue
from app.errors import SettingsError
from app.settings.configured import Configured, fingerprint
from app.settings.list_files import entries_of, read_list_file
from app.settings.rules import RULE_TYPES, RuleFields

ConfiguredRules = Configured[RuleFields]
"""The rules of one configuration."""


@dataclass(frozen=True)
class RuleListSource:
    """A rules file, or a list with the structure of such a file; exactly one of them."""

    kind: ClassVar[str] = "rules"
    file: Path | None = None
    """The rules file's absolute path."""
    entries: tuple[Any, ...] = field(default=(), repr=False)
    """The list, as ``user_config`` gives it."""

    def text(self) -> str:
        """Return the text to parse: a file's content; empty for a list.

        Raises:
            SettingsError: the file cannot be read.
        """
        return "" if self.file is None else read_list_file(RuleListSource.kind, self.file)

    def parse(self, text: str, environment: Mapping[str, str]) -> ConfiguredRules:
        """Parse what :meth:`text` returned.

        Raises:
            SettingsError: a rule is wrong; one line that names rule and field.
        """
        return configure_rules(self.entries if self.file is None else entries_of(RuleListSource.kind, text, self.file))

    def read(self) -> ConfiguredRules:
        """Read and parse the rules as they are configured now; raises as the two methods above."""
        return self.parse(self.text(), {})


def read_rules_file(file: Path) -> tuple[RuleFields, ...]:
    """Read and parse a rules file.

    Raises:
        SettingsError: the file cannot be read, or a rule is wrong; one line.
    """
    return RuleListSource(file=file).read().entries


def parse_rules(entries: Sequence[object]) -> tuple[RuleFields, ...]:
    """Parse the list of a rules file; raises as :func:`configure_rules`."""
    return configure_rules(entries).entries


def configure_rules(entries: Sequence[object]) -> ConfiguredRules:
    """Parse the list of a rules file, with the fingerprint of each rule as it was written.

    Raises:
        SettingsError: a rule is wrong, or an id is given twice; one line that names rule and field.
    """
    rules: list[RuleFields] = []
    fingerprints: dict[str, str] = {}
    for index, entry in enumerate(entries):
        rule = parse_rule(entry, f"rules[{index}]")
        if rule.id in fingerprints:
            raise SettingsError(f"rule {rule.id!r}: id: given twice; ids are unique")
        rules.append(rule)
        fingerprints[rule.id] = fingerprint(entry)  # type: ignore[arg-type] # a mapping, or it were no rule
    return Configured(tuple(rules), fingerprints)


def parse_rule(entry: object, position: str = "rule") -> RuleFields:
    """Parse one rule.

    Args:
        entry: its fields by name.
        position: what the error message calls a rule that has no id.

    Raises:
        SettingsError: a field is wrong; one line that names rule and field.
    """
    if not isinstance(entry, dict):
        raise SettingsError(f"{position}: a {type(entry).__name__}; allowed is a mapping with id and type")
    name = f"rule {entry['id']!r}" if isinstance(entry.get("id"), str) else position
    kind = entry.get("type")
    model = RULE_TYPES.get(kind) if isinstance(kind, str) else None
    if model is None:
        shown = "missing" if kind is None else repr(kind)
        raise SettingsError(f"{name}: type: {shown}; allowed are {', '.join(RULE_TYPES)}")
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        raise SettingsError(_explain(name, model, entry, InvalidValue.first_of(error))) from None


def dump_rules(rules: Iterable[RuleFields]) -> str:
    """Return rules as a JSON list, in the form in which they are handed from one process to another."""
    return json.dumps([rule.model_dump(mode="json", by_alias=True) for rule in rules], separators=(",", ":"))


def load_rules(text: str) -> tuple[RuleFields, ...]:
    """Return the rules of a JSON list: those of :func:`dump_rules`, equal to what they were.

    Raises:
        SettingsError: the text is no JSON list, or a rule is wrong; one line.
    """
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"rules that are no JSON: {one_line(error)}") from None
    if not isinstance(entries, list):
        raise SettingsError(f"rules: a {type(entries).__name__}; allowed is a JSON list")
    return parse_rules(entries)


def rules_of_camera(rules: Iterable[RuleFields], camera_id: str) -> tuple[RuleFields, ...]:
    """Return the rules whose ids or globs name a camera, in their order."""
    return tuple(rule for rule in rules if any(fnmatchcase(camera_id, pattern) for pattern in rule.cameras))


def _explain(name: str, model: type[RuleFields], entry: dict[str, Any], invalid: InvalidValue) -> str:
    if not invalid.location:  # a check of several fields, whose message names the field
        return f"{name}: {invalid.message}"
    path, value = _written(entry, invalid.location)
    if invalid.kind == "extra_forbidden" and len(invalid.location) == 1:
        return f"{name}: {path}: not a field of {entry['type']}; allowed are {', '.join(_names(model))}"
    if invalid.kind == "missing":
        return f"{name}: {path}: missing; {entry['type']} needs it"
    shown = "" if isinstance(value, (dict, list, tuple)) or value is None else repr(value)
    return invalid.line(f"{name}: {path}", shown)


def _names(model: type[RuleFields]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _written(entry: dict[str, Any], location: tuple[str, ...]) -> tuple[str, object]:
    """Return a location as the user wrote it, such as ``zone[1][0]``, and the value there."""
    path = ""
    here: Any = entry
    for part in location:
        if isinstance(here, list) and part == "points":  # a shape written as a bare list of points
            continue
        if isinstance(here, dict) and part not in here and part.isdigit():  # a single schedule, written without a list
            continue
        path += f"[{part}]" if part.isdigit() else f".{part}" if path else part
        here = _inner(here, part)
    return path, here


def _inner(here: Any, part: str) -> Any:
    if isinstance(here, dict):
        return here.get(part)
    if isinstance(here, list) and part.isdigit() and int(part) < len(here):
        return here[int(part)]
    return None
