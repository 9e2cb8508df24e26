"""Replay: what rules say of past events, beside what the rules of then said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.analysis.rules.anomaly import anomaly_body
from app.analysis.rules.engine import LOST_AFTER_S, CameraRules, apply_rules, make_camera_rules
from app.analysis.rules.frame import frame_of_published
from app.analysis.rules.state import RulesState
from app.errors import SettingsError
from app.settings.rules import RuleFields

_COMPARED = ("new", "end", "instant")
"""States that are compared: updates only repeat."""
Transition = tuple[str, str, str, str | None, str | None]
"""Anomaly, state, start, end, reason."""


@dataclass(slots=True)
class RuleOutcome:
    """What one rule gives, and gave."""

    type: str
    now: dict[Transition, dict[str, Any]] = field(default_factory=dict)
    then: dict[Transition, dict[str, Any]] = field(default_factory=dict)

    @property
    def added(self) -> list[dict[str, Any]]:
        """Transitions that are there now and were not."""
        return [body for key, body in self.now.items() if key not in self.then]

    @property
    def gone(self) -> list[dict[str, Any]]:
        """Transitions that were there and are no more."""
        return [body for key, body in self.then.items() if key not in self.now]

    @property
    def differs(self) -> bool:
        """Whether the rule gives something else than it gave."""
        return self.now.keys() != self.then.keys()


@dataclass(slots=True)
class Replay:
    """Rules, applied to the events of any number of cameras."""

    rules: Sequence[RuleFields]
    lost_after: float = LOST_AFTER_S
    """Seconds of capture time, as ``tracking.lost_after``."""
    outcomes: dict[str, RuleOutcome] = field(default_factory=dict)
    """By rule; rules that are no more are there if events report them."""
    events: int = 0
    _cameras: dict[str, tuple[RulesState, CameraRules]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with no transition for each rule."""
        for rule in self.rules:
            self.outcomes[rule.id] = RuleOutcome(rule.type)  # type: ignore[attr-defined]

    def apply(self, lines: Iterable[str], name: str) -> Iterator[dict[str, Any]]:
        """Yield the transitions that events give, as they are published.

        Args:
            lines: one event a line, as published; empty lines are passed over.
            name: of the file, for the error's text.

        Raises:
            SettingsError: a line is no event; the text has its number.
        """
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                body = json.loads(line)
                frame = frame_of_published(body)
                told = [(one["rule"], one["type"], _transition(one), one) for one in body.get("anomalies") or ()]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise SettingsError(f"{name}, line {number}: not an event as published: {reason}") from None
            self.events += 1
            for rule, kind, transition, one in told:
                if transition[1] in _COMPARED:
                    self.outcomes.setdefault(rule, RuleOutcome(kind)).then[transition] = one
            known = self._cameras.get(frame.camera_id)
            if known is None:
                known = RulesState(), make_camera_rules(self.rules, frame.camera_id, self.lost_after)
            state, rules = known
            state, judgement = apply_rules(state, frame, rules, tells_active=False)
            self._cameras[frame.camera_id] = state, rules
            for anomaly in judgement.anomalies:
                published = anomaly_body(anomaly)
                if anomaly.state in _COMPARED:
                    self.outcomes[anomaly.rule].now[_transition(published)] = published
                yield published


def _transition(body: dict[str, Any]) -> Transition:
    return body["anomaly_id"], body["state"], body["started_at"], body.get("ended_at"), body.get("reason")
