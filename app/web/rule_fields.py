"""RuleBody: a rule as the HTTP API accepts and returns it, which is as a rules file has it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.fleet import DesiredRule, Origin
from app.settings.rules import RuleFields, RuleSettings, Severity
from app.web.figures import Model

_RULE: TypeAdapter[Any] = TypeAdapter(RuleSettings)


class _SchemaOfRules:
    """Documents a mapping as a rule: it is parsed by ``parse_rule``, whose message names rule and field."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(_RULE.core_schema)


RuleBody = Annotated[dict[str, Any], _SchemaOfRules()]
"""The fields of a rule, by name."""


class RuleModel(Model):
    """One rule."""

    id: str
    type: Annotated[str, Field(description="Also the anomaly_type of its incidents.")]
    severity: Severity
    origin: Annotated[Origin, Field(description="Whether it is configured, or was added or changed at run time.")]
    applies_to: Annotated[tuple[str, ...], Field(description="Ids of the present cameras that it names.")]
    settings: Annotated[RuleBody, Field(description="As in a rules file; PUT accepts the same.")]

    @classmethod
    def of(cls, rule: DesiredRule, applies_to: tuple[str, ...]) -> RuleModel:
        """Convert a rule."""
        fields = rule.settings
        return cls(
            id=fields.id,
            type=rule_type(fields),
            severity=fields.severity,
            origin=rule.origin,
            applies_to=applies_to,
            settings=fields.model_dump(mode="json", by_alias=True, exclude_unset=True),
        )


class RemovedRuleModel(Model):
    """A rule that was removed."""

    id: str


def rule_type(rule: RuleFields) -> str:
    """Return a rule's type."""
    kind: str = rule.type  # type: ignore[attr-defined] # every member of the union has it
    return kind
