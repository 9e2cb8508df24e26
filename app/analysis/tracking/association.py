"""Association: which detected box continues which track.

Sources: two stages, the confident boxes first: Y. Zhang and others, "ByteTrack: Multi-Object Tracking by Associating
Every Detection Box", 2022. Boxes that are grown before their overlap is measured: F. Yang and others, "Hard to Track
Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching Space", 2023; here they
grow by the uncertainty of the prediction. Overlap reduced where heights differ: M. Yang and others, "Hybrid-SORT: Weak
Cues Matter for Online Multi-Object Tracking", 2024. Assignment: R. Jonker and A. Volgenant, "A Shortest Augmenting Path
Algorithm for Dense and Sparse Linear Assignment Problems", 1987.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import lap
import numpy as np

# Chosen together with the numbers of `motion`.
GROWTH = 1.0
"""Standard deviations of the predicted centre by which both boxes are grown on each side."""
LEAST_OVERLAP = 0.2
"""Overlap of the grown boxes below which a box does not continue a track."""
LEAST_OVERLAP_WEAK = 0.35
"""The same in the second stage."""
OTHER_CLASS = 0.5
"""Factor of the overlap when box and track differ in class."""
_SLACK = 1.0
"""Pixels by which the search for boxes near a track goes too far: more than what is lost by rounding."""


class PlacedBox(NamedTuple):
    """A detected box; or where a track is predicted to be."""

    x: float
    """Of the centre, in pixels."""
    y: float
    width: float
    height: float
    class_id: int


# From a tuple of all fields, in a third of the time that the class itself takes.
place_box = partial(tuple.__new__, PlacedBox)
Unsure = tuple[float, float]
"""Standard deviations of the predicted x and y of a centre, in pixels."""
Overlap = tuple[int, int, float]
"""A track, a box, and their overlap in (0, 1]."""


def overlaps(tracks: Sequence[PlacedBox], unsure: Sequence[Unsure], boxes: Sequence[PlacedBox]) -> list[Overlap]:
    """Return which tracks and boxes overlap, and how much: track by track, each with its boxes in their order.

    The overlap is the intersection over union of the grown boxes, times the square of the ratio of the heights: who
    passes in front of another seldom has its height.

    Args:
        tracks: where they are predicted to be.
        unsure: of each track.
        boxes: the detected ones, by their left sides from left to right.
    """
    found = []
    lefts = [box_x - box_width / 2 for box_x, _, box_width, _, _ in boxes]
    widest = max([box[2] for box in boxes], default=0.0)
    for track, ((x, y, width, height, class_id), (unsure_x, unsure_y)) in enumerate(zip(tracks, unsure, strict=True)):
        grown_x, grown_y = GROWTH * unsure_x, GROWTH * unsure_y
        half_x, half_y = width / 2 + grown_x, height / 2 + grown_y
        reach = half_x + grown_x + _SLACK
        for index in range(bisect_left(lefts, x - reach - widest), bisect_left(lefts, x + reach)):
            box_x, box_y, box_width, box_height, box_class = boxes[index]
            other_x = box_width / 2 + grown_x
            common_x = half_x + other_x - abs(x - box_x)
            if common_x <= 0:
                continue
            other_y = box_height / 2 + grown_y
            common_y = half_y + other_y - abs(y - box_y)
            if common_y <= 0:
                continue
            # Where one is within the other. Conditions, as calls of `min` take most of the time.
            least_x = (half_x if half_x < other_x else other_x) * 2
            least_y = (half_y if half_y < other_y else other_y) * 2
            overlap = (common_x if common_x < least_x else least_x) * (common_y if common_y < least_y else least_y)
            if least_x <= 0 or least_y <= 0:
                continue
            overlap /= (other_x * other_y + half_x * half_y) * 4 - overlap
            alike = height / box_height if height < box_height else box_height / height
            overlap = overlap * alike * alike
            found.append((track, index, overlap if class_id == box_class else overlap * OTHER_CLASS))
    return found


def assign(found: Sequence[Overlap], tracks: Sequence[int], boxes: Sequence[int], least: float) -> dict[int, int]:
    """Return the tracks by their boxes, so that the sum of ``overlap - least`` is greatest.

    Args:
        found: the overlaps of these tracks and boxes, in their order.
        tracks: those that take part.
        boxes: those that take part.
        least: overlap below which nothing is assigned.
    """
    chosen = [(track, box) for track, box, overlap in found if overlap > least]
    assigned = {box: track for track, box in chosen}
    if len(assigned) == len(chosen) == len({track for track, _ in chosen}):
        return assigned  # no two compete for one: nothing to choose, which is the usual case
    cost = np.ones((len(tracks), len(boxes)))
    rows = {track: row for row, track in enumerate(tracks)}
    columns = {box: column for column, box in enumerate(boxes)}
    for track, box, overlap in found:
        cost[rows[track], columns[box]] = 1 - overlap
    _, found_columns, _ = lap.lapjv(cost, extend_cost=True, cost_limit=1 - least)
    return {boxes[column]: track for track, column in zip(tracks, found_columns.tolist(), strict=True) if column >= 0}


def associate(
    tracks: Sequence[PlacedBox], unsure: Sequence[Unsure], boxes: Sequence[PlacedBox], strong: Sequence[bool]
) -> dict[int, int]:
    """Return the track that each box continues, by the box; one that continues none is left out.

    Args:
        tracks: where they are predicted to be.
        unsure: of each track.
        boxes: the detected ones, by their left sides from left to right.
        strong: whether a box takes part in the first stage.
    """
    found = overlaps(tracks, unsure, boxes)
    every = range(len(tracks))
    if all(strong):
        return assign(found, every, range(len(boxes)), LEAST_OVERLAP)
    first = assign(
        [one for one in found if strong[one[1]]], every, [n for n, one in enumerate(strong) if one], LEAST_OVERLAP
    )
    free = set(every).difference(first.values())
    second = assign(
        [one for one in found if one[0] in free and not strong[one[1]]],
        sorted(free),
        [n for n, one in enumerate(strong) if not one],
        LEAST_OVERLAP_WEAK,
    )
    return first | second
