"""Rules in the HTTP API: read, and changed while the system runs (``proto/README.md``, "The HTTP API")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Protocol

from fastapi import APIRouter, Body, Response

from app.errors import RuleUnknown, SettingsError
from app.fleet import DesiredRule
from app.settings.rule_lists import parse_rule, rules_of_camera
from app.settings.rules import RuleFields
from app.web.problems import problems
from app.web.read_routes import Readings
from app.web.rule_fields import RemovedRuleModel, RuleBody, RuleModel


class RuleChanges(Protocol):
    """The rules of the running system; raises the errors of ``STATUSES``."""

    @property
    def desired(self) -> Sequence[DesiredRule]:
        """Every rule there should be."""

    async def add(self, rule: RuleFields) -> None:
        """Add a rule."""

    async def replace(self, rule: RuleFields) -> None:
        """Change the rule of the same id."""

    async def remove(self, rule_id: str) -> None:
        """Remove a rule."""


def rule_routes(rules: Callable[[], RuleChanges], readings: Callable[[], Readings]) -> APIRouter:
    """Build the routes over the rules and the answers, both looked up at each request."""
    routes = APIRouter(prefix="/api/v1/rules")

    def model(rule_id: str) -> RuleModel:
        return _model(require_rule(rules(), rule_id), readings().camera_ids)

    @routes.get("", tags=["read"], summary="Every rule")
    async def every() -> list[RuleModel]:
        return [_model(rule, readings().camera_ids) for rule in rules().desired]

    @routes.get("/{rule_id}", tags=["read"], summary="One rule", responses=problems(404))
    async def one(rule_id: str) -> RuleModel:
        return model(rule_id)

    @routes.post(
        "",
        tags=["write"],
        status_code=201,
        summary="Add a rule; it holds from the next frame on",
        responses=problems(400, 401, 403, 409, 413, 422, 503),
    )
    async def add(rule: Annotated[RuleBody, Body()], response: Response) -> RuleModel:
        added = parse_rule(rule)
        await rules().add(added)
        readings().forget()
        response.headers["location"] = f"/api/v1/rules/{added.id}"
        return model(added.id)

    @routes.put(
        "/{rule_id}",
        tags=["write"],
        summary="Change a rule; its incidents that go on end, and the other rules keep theirs",
        responses=problems(400, 401, 403, 404, 413, 422, 503),
    )
    async def replace(rule_id: str, rule: Annotated[RuleBody, Body()]) -> RuleModel:
        require_rule(rules(), rule_id)
        changed = parse_rule({"id": rule_id, **rule})
        if changed.id != rule_id:
            raise SettingsError(f"rule {changed.id[:64]!r}: id: the path names {rule_id[:64]!r}; an id is not changed")
        await rules().replace(changed)
        readings().forget()
        return model(rule_id)

    @routes.delete(
        "/{rule_id}",
        tags=["write"],
        summary="Remove a rule; its incidents that go on end",
        responses=problems(401, 403, 404, 503),
    )
    async def remove(rule_id: str) -> RemovedRuleModel:
        await rules().remove(rule_id)
        readings().forget()
        return RemovedRuleModel(id=rule_id)

    return routes


def require_rule(rules: RuleChanges, rule_id: str) -> DesiredRule:
    """Return a rule.

    Raises:
        RuleUnknown: there is no such rule.
    """
    found = next((rule for rule in rules.desired if rule.settings.id == rule_id), None)
    if found is None:
        raise RuleUnknown(f"there is no rule {rule_id[:64]!r}")
    return found


def _model(rule: DesiredRule, camera_ids: Sequence[str]) -> RuleModel:
    applies_to = tuple(camera_id for camera_id in camera_ids if rules_of_camera([rule.settings], camera_id))
    return RuleModel.of(rule, applies_to)
