"""ScriptedEvent: what ``script=`` of a street's address lets happen, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import SettingsError

Span = tuple[float, float]
_FOR: Span = (0.1, 3600)
_X: Span = (0.2, 0.8)

KEYS: Mapping[str, Mapping[str, Span]] = {
    "stop": {"for": _FOR, "x": _X},
    "wrong_way": {},
    "loiter": {"for": _FOR, "x": _X},
    "crowd": {"for": _FOR, "x": _X, "count": (2, 8)},
    "abandon": {"for": _FOR, "x": _X},
    "speed": {"kmh": (16, 60)},
    "wobble": {"for": _FOR, "x": _X},
}
"""What can happen, and its keys besides ``at``, with the least and the greatest value.

``stop``: a car on the near lane arrives, stands ``for`` seconds and drives on. ``wrong_way``: a car drives against the
near lane's direction. ``loiter``: a pedestrian on the near pavement walks to and fro around ``x`` ``for`` seconds and
goes back; with a short ``for`` it only touches the zone. ``crowd``: ``count`` pedestrians stand together. ``abandon``:
a pedestrian puts down a suitcase and walks away. ``speed``: a car drives ``kmh`` on the near lane, where others do 15
at most. ``wobble``: a pedestrian stands on the vertical line at ``x`` and sways across it; that is no incident.
"""
_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "stop": {"for": 15},
    "loiter": {"for": 30},
    "crowd": {"for": 10, "count": 5},
    "abandon": {"for": 60},
    "speed": {"kmh": 25},
    "wobble": {"for": 50},
}
_AT: Span = (0, 86_400)
_MOST_EVENTS = 20
"""Of one script; with 8 people each they still leave numbers for the street's own road users in a frame."""
_WHERE = "synthetic://street: script"


@dataclass(frozen=True)
class ScriptedEvent:
    """One thing that happens, once."""

    kind: str
    """One of ``KEYS``."""
    at: float
    """Seconds of the scene at which it begins."""
    values: tuple[tuple[str, float], ...] = ()
    """Keys and values that were given, sorted."""

    def get(self, key: str) -> float | None:
        """Return the value of a key, or its default; None: the seed chooses."""
        return dict(self.values).get(key, _DEFAULTS.get(self.kind, {}).get(key))

    @property
    def seconds(self) -> float:
        """For how long it goes on, where ``for`` says it."""
        return self.get("for") or 0.0


def parse_script(text: str) -> tuple[ScriptedEvent, ...]:
    """Return the events of ``stop:at=20:for=15,wrong_way:at=40``.

    >>> parse_script("stop:at=20:for=15,wrong_way:at=40")[0]
    ScriptedEvent(kind='stop', at=20.0, values=(('for', 15.0),))

    Raises:
        SettingsError: an event or a key is unknown, ``at`` is missing, or a value is malformed or out of range.
    """
    events = tuple(_event(part) for part in text.split(",") if part)
    if len(events) > _MOST_EVENTS:
        raise SettingsError(f"{_WHERE} has {len(events)} events; allowed are {_MOST_EVENTS}")
    return events


def _event(part: str) -> ScriptedEvent:
    kind, *pairs = part.split(":")
    if kind not in KEYS:
        raise SettingsError(f"{_WHERE}: {kind!r} is not known; allowed are {', '.join(KEYS)}")
    spans = {"at": _AT, **KEYS[kind]}
    values: dict[str, float] = {}
    for pair in pairs:
        key, equals, number = pair.partition("=")
        if not equals or key not in spans or key in values:
            known = ", ".join(spans)
            raise SettingsError(f"{_WHERE}: {kind}: {pair!r} is not a key=value; keys are {known}, each once")
        values[key] = _number(kind, key, number, spans[key])
    if "at" not in values:
        raise SettingsError(f"{_WHERE}: {kind}: 'at' is missing; it is the second of the scene at which it begins")
    at = values.pop("at")
    return ScriptedEvent(kind, at, tuple(sorted(values.items())))


def _number(kind: str, key: str, text: str, span: Span) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    low, high = span
    if not low <= value <= high or (key == "count" and value != int(value)):
        what = "a whole number, " if key == "count" else ""
        raise SettingsError(f"{_WHERE}: {kind}: {key}={text!r}; allowed is {what}{low:g} to {high:g}")
    return value
