"""Play a rule over boxes written by hand: the examples of the types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.analysis.rules.anomaly import Anomaly
from app.analysis.rules.engine import apply_rules, make_camera_rules
from app.analysis.rules.frame import Frame, SeenObject
from app.analysis.rules.state import RulesState
from app.settings.rule_lists import parse_rule

SIDE = 1000
"""Of the picture; pixels."""
START_MS = 1_767_225_600_000
"""2026-01-01, 00:00 UTC."""

Box = tuple[str, int | None, float, float]
"""Class, track, and where the object stands: x of its centre and y of its feet, 0…1 of the picture."""


def frame_at(
    seconds: float, boxes: Iterable[Box], *, width: float = 0.05, height: float = 0.1, confidence: float = 0.9
) -> Frame:
    """Return a frame of the camera ``cam``, so many seconds after ``START_MS``, with boxes of one size."""
    return Frame(
        camera_id="cam",
        time_ms=START_MS + round(seconds * 1000),
        width=SIDE,
        height=SIDE,
        objects=tuple(
            SeenObject(
                label,
                confidence,
                (
                    round((x - width / 2) * SIDE, 2),
                    round((y - height) * SIDE, 2),
                    round(width * SIDE, 2),
                    round(height * SIDE, 2),
                ),
                track_id,
            )
            for label, track_id, x, y in boxes
        ),
    )


def transitions(rule: Mapping[str, Any], frames: Iterable[Frame]) -> Sequence[Anomaly]:
    """Return what a rule of the camera ``cam`` says of its frames."""
    rules = make_camera_rules([parse_rule(dict(rule))], "cam")
    state = RulesState()
    found: list[Anomaly] = []
    for frame in frames:
        state, judgement = apply_rules(state, frame, rules)
        found += judgement.transitions
    return found


def show(rule: Mapping[str, Any], moments: Iterable[tuple[float, Iterable[Box]]]) -> None:
    """Print what a rule says: state, tracks, start and end in seconds, value, reason."""
    for one in transitions({"id": "example", **rule}, (frame_at(seconds, boxes) for seconds, boxes in moments)):
        times = [f"{(time - START_MS) / 1000:g}" for time in (one.started_ms, one.ended_ms) if time is not None]
        rest = [one.direction or "", "" if one.value is None else f"{one.value:g}", one.reason or ""]
        print(*[text for text in (one.state, *one.track_ids, "at", *times, *rest) if text != ""])
