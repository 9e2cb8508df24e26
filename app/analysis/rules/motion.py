"""How tracks move: speed by least squares, and whether an object stays where it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.analysis.rules.homography import Homography
from app.analysis.rules.state import Track

MIN_SAMPLES = 3
"""For a speed; they must span at least half of the window."""
_STAYS_WITHIN = 0.15
_LEAVES_BEYOND = 0.3
"""Distances from the median of an object's places, in box diagonals."""
_POINTS = 16
"""Places of which the median is taken; when there are more, every second is forgotten."""
_FIRST_SPACING_MS = 100

Stay = tuple[float, float, bool, float, float, int, int, tuple[tuple[float, float], ...]]
"""Where it was first seen (x, y); whether it has moved a box height since; the median of its places (x, y); the time
of the last place kept; the least time between two places; the places."""


def velocity(
    track: Track, window_ms: int, share: float, ground: Homography | None = None
) -> tuple[float, float] | None:
    """Return a track's velocity by least squares over its last ``window_ms``.

    Args:
        track: its samples; where fewer than three are in the window, the last three are taken.
        window_ms: milliseconds.
        share: where in the box the point is that moves: 0 at the top, 1 at the bottom.
        ground: where on the ground a point of the picture is; None: the velocity is that on the picture.

    Returns:
        x and y a second, in heights of the frame or in the ground's unit; None: too few samples.
    """
    samples = track.samples
    last_ms = samples[-1][0]
    first = 0
    most = len(samples) - MIN_SAMPLES
    if most < 0:
        return None
    while first < most and last_ms - samples[first][0] > window_ms:
        first += 1
    if 2 * (last_ms - samples[first][0]) < window_ms:
        return None
    count = len(samples) - first
    sum_t = sum_tt = 0
    sum_x = sum_y = sum_tx = sum_ty = 0.0
    if first:
        samples = samples[first:]
    for time_ms, x, top, _, height, _ in samples:
        t = time_ms - last_ms
        y = top + share * height
        if ground is not None:
            x, y = ground.place(x, y)
        sum_t += t
        sum_tt += t * t
        sum_x += x
        sum_y += y
        sum_tx += t * x
        sum_ty += t * y
    spread = (count * sum_tt - sum_t * sum_t) / 1000.0
    return (count * sum_tx - sum_t * sum_x) / spread, (count * sum_ty - sum_t * sum_y) / spread


def begin_stay(x: float, y: float, now_ms: int) -> Stay:
    """Return the stay of an object that is seen for the first time."""
    return (x, y, False, x, y, now_ms, _FIRST_SPACING_MS, ((x, y),))


def restart_stay(stay: Stay, x: float, y: float, now_ms: int) -> Stay:
    """Return the stay of an object that has moved on to another place."""
    return (stay[0], stay[1], stay[2], x, y, now_ms, _FIRST_SPACING_MS, ((x, y),))


def extend_stay(stay: Stay, x: float, y: float, now_ms: int) -> Stay:
    """Return a stay with one more place."""
    first_x, first_y, moved, median_x, median_y, kept_ms, spacing_ms, places = stay
    if now_ms - kept_ms < spacing_ms:
        return stay
    places = (*places, (x, y))
    if len(places) > _POINTS:
        places, spacing_ms = places[::2], spacing_ms * 2
    median_x = _median(sorted([place[0] for place in places]))
    median_y = _median(sorted([place[1] for place in places]))
    return (first_x, first_y, moved, median_x, median_y, now_ms, spacing_ms, places)


def _median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def follow_stay(
    stay: Stay, x: float, y: float, now_ms: int, width: float, height: float, was_staying: bool, may_restart: bool
) -> tuple[bool, bool, Stay]:
    """Return whether an object stays where it was, whether its stay begins again with this place, and the stay.

    Args:
        stay: as the frame before left it.
        x: of its place.
        y: of its place.
        now_ms: capture time of the frame.
        width: of its box.
        height: of its box.
        was_staying: whether it stands: then it may be twice as far away, and its median no longer changes.
        may_restart: whether it begins a stay where it is, if that is too far away.
    """
    first_x, first_y, moved, median_x, median_y, _, _, _ = stay
    if not moved and math.hypot(x - first_x, y - first_y) >= height:
        moved = True
        stay = (first_x, first_y, True, *stay[3:])
    diagonal = (width * width + height * height) ** 0.5
    limit = (_LEAVES_BEYOND if was_staying else _STAYS_WITHIN) * diagonal
    if math.hypot(x - median_x, y - median_y) <= limit:
        return True, False, stay if was_staying else extend_stay(stay, x, y, now_ms)
    if may_restart:
        return False, True, (first_x, first_y, moved, x, y, now_ms, _FIRST_SPACING_MS, ((x, y),))
    return False, False, stay


def stays(stay: Stay, x: float, y: float, diagonal: float, was_staying: bool) -> bool:
    """Return whether a place is near enough to the median of a stay; for an object that stands, twice as far is."""
    limit = (_LEAVES_BEYOND if was_staying else _STAYS_WITHIN) * diagonal
    return math.hypot(x - stay[3], y - stay[4]) <= limit
