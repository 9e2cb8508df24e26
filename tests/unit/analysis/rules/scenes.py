"""Scenes: boxes over time, and what the rules say of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from app.analysis.rules.anomaly import Anomaly
from app.analysis.rules.engine import apply_rules, make_camera_rules
from app.analysis.rules.example import START_MS, Box, frame_at
from app.analysis.rules.frame import Frame
from app.analysis.rules.state import RulesState, decode_state, encode_state
from app.settings.rule_lists import parse_rules

FPS = 5.0
EVERY = 7
ALL = [[0, 0], [1, 0], [1, 1], [0, 1]]
LOWER_HALF = [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]

Place = Callable[[float], tuple[float, float] | None]
"""Seconds → x of an object's centre and y of its feet; None: it is not in the picture."""


def film(
    objects: Mapping[int, Place],
    seconds: float,
    *,
    fps: float = FPS,
    label: str = "car",
    labels: Mapping[int, str] | None = None,
    cut: Callable[[float], bool] = lambda _: False,
    **box: float,
) -> Iterator[Frame]:
    """Yield the frames of objects by track id; ``cut`` says which of them the camera does not send."""
    for number in range(int(seconds * fps) + 1):
        now = number / fps
        if cut(now):
            continue
        places = {track: place(now) for track, place in objects.items()}
        boxes: list[Box] = [
            ((labels or {}).get(track, label), track, *place) for track, place in places.items() if place is not None
        ]
        yield frame_at(now, boxes, **box)


def jittered(frames: Iterable[Frame], *, seed: int, missed: float = 0.05, dropped: float = 0.3) -> Iterator[Frame]:
    """Yield frames with boxes off by 2 % (standard deviation, of their sides), some missed, some frames dropped."""
    rng = random.Random(seed)
    for frame in frames:
        if rng.random() < dropped:
            continue
        objects = []
        for one in frame.objects:
            x, y, width, height = one.bbox
            sides = (
                x + rng.gauss(0, 0.02) * width,
                y + rng.gauss(0, 0.02) * height,
                width * (1 + rng.gauss(0, 0.02)),
                height * (1 + rng.gauss(0, 0.02)),
            )
            if rng.random() >= missed:
                objects.append(one._replace(bbox=tuple(round(side, 2) for side in sides)))
        yield replace(frame, objects=tuple(objects))


def judged(rules: Sequence[Mapping[str, Any]] | Mapping[str, Any], frames: Iterable[Frame]) -> list[Anomaly]:
    """Return the transitions of rules; the state often passes through its bytes."""
    listed = [rules] if isinstance(rules, Mapping) else rules
    ready = make_camera_rules(parse_rules([{"id": f"rule-{n}", **rule} for n, rule in enumerate(listed)]), "cam")
    state, found = RulesState(), []
    for number, frame in enumerate(frames):
        state, judgement = apply_rules(state, frame, ready)
        if number % EVERY == 0:
            kept = decode_state(encode_state(state))
            assert kept == state
            state = kept
        found += judgement.transitions
    return found


def reported(anomalies: Iterable[Anomaly]) -> list[tuple[Any, ...]]:
    """Return state, tracks and the time in seconds: of an end when it ended, else when it started."""
    return [
        (
            one.state,
            one.track_ids,
            ((one.started_ms if one.ended_ms is None else one.ended_ms) - START_MS) / 1000,
            *([one.reason] if one.reason else []),
        )
        for one in anomalies
        if one.state != "update"
    ]


def stands(x: float, y: float, since: float = 0.0, until: float = 1e9) -> Place:
    return lambda now: (x, y) if since <= now < until else None


def drives(x: float, y: float, speed_x: float, speed_y: float = 0.0, since: float = 0.0, until: float = 1e9) -> Place:
    """From (x, y) at ``since``, in shares of the picture a second."""
    return lambda now: (x + speed_x * (now - since), y + speed_y * (now - since)) if since <= now < until else None


def along(*points: tuple[float, float, float]) -> Place:
    """Through points (seconds, x, y), straight between them; there from the first to the last."""

    def place(now: float) -> tuple[float, float] | None:
        for (t1, x1, y1), (t2, x2, y2) in pairwise(points):
            if t1 <= now <= t2:
                part = (now - t1) / (t2 - t1)
                return x1 + part * (x2 - x1), y1 + part * (y2 - y1)
        return None

    return place
