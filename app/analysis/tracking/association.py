"""Association: which detected box continues which track.

Sources: two stages, the confident boxes first: Y. Zhang and others, "ByteTrack: Multi-Object Tracking by Associating
Every Detection Box", 2022. Boxes that are grown before their overlap is measured: F. Yang and others, "Hard to Track
Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching Space", 2023; here they
grow by the uncertainty of the prediction. Overlap reduced where heights differ: M. Yang and others, "Hybrid-SORT: Weak
Cues Matter for Online Multi-Object Tracking", 2024. Assignment: R. Jonker and A. Volgenant, "A Shortest Augmenting Path
Algorithm for Dense and Sparse Linear Assignment Problems", 1987.
"""

from __future__ import annotations

import lap
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# Chosen together with the numbers of `motion`.
GROWTH = 1.0
"""Standard deviations of the predicted centre by which both boxes are grown on each side."""
LEAST_OVERLAP = 0.2
"""Overlap of the grown boxes below which a box does not continue a track."""
LEAST_OVERLAP_WEAK = 0.35
"""The same in the second stage."""
OTHER_CLASS = 0.5
"""Factor of the overlap when box and track differ in class."""


def overlaps(places: Floats, deviations: Floats, seen: Floats) -> Floats:
    """Return the overlap of T tracks and N boxes as (T, N), in [0, 1].

    It is the intersection over union of the grown boxes, times the square of the ratio of the heights: who passes
    in front of another seldom has its height.

    Args:
        places: (T, 4) predicted x and y of the centre, width, height, in pixels.
        deviations: (T, 2) standard deviations of the predicted centre, in pixels.
        seen: (N, 4) detected boxes in the same form.
    """
    # (2, T, N): NumPy is fast where the last axis is the long one.
    grown = GROWTH * deviations.T
    tracks, boxes = places.T, seen.T
    half = tracks[2:] / 2 + grown
    half_seen = (boxes[2:] / 2)[:, None, :] + grown[:, :, None]
    sides = half[:, :, None] + half_seen
    sides -= np.abs(tracks[:2, :, None] - boxes[:2, None, :])
    least = np.minimum(half[:, :, None], half_seen)
    least *= 2
    np.minimum(sides, least, out=sides)
    np.maximum(sides, 0, out=sides)
    overlap: Floats = sides[0] * sides[1]
    whole = half_seen[0] * half_seen[1]
    whole += (half[0] * half[1])[:, None]
    whole *= 4
    whole -= overlap
    overlap /= whole
    high, high_seen = tracks[3, :, None], boxes[3]
    alike = np.minimum(high, high_seen)
    alike /= np.maximum(high, high_seen)
    overlap *= alike
    overlap *= alike
    return overlap


def assign(overlap: Floats, least: float) -> tuple[Indices, Indices]:
    """Return rows and columns that are assigned to each other, so that the sum of ``overlap - least`` is greatest."""
    rows, columns = (overlap > least).nonzero()
    if len(set(rows.tolist())) == len(rows) == len(set(columns.tolist())):
        return rows, columns  # no two compete for one: nothing to choose, which is the usual case
    _, assigned, _ = lap.lapjv(1 - overlap, extend_cost=True, cost_limit=1 - least)
    rows = (assigned >= 0).nonzero()[0]
    return rows, assigned[rows]


def associate(
    places: Floats,
    deviations: Floats,
    classes: NDArray[np.integer],
    seen: Floats,
    seen_classes: NDArray[np.integer],
    strong: NDArray[np.bool_],
) -> Indices:
    """Return for each of N boxes the track that it continues, or -1, as (N,).

    Args:
        places: (T, 4) predicted x and y of the centre, width, height, in pixels.
        deviations: (T, 2) standard deviations of the predicted centre, in pixels.
        classes: (T,) class ids of the tracks.
        seen: (N, 4) detected boxes in the same form.
        seen_classes: (N,) class ids of the boxes.
        strong: (N,) whether a box takes part in the first stage.
    """
    tracks = np.full(len(seen), -1)
    if not len(places) or not len(seen):
        return tracks
    overlap = overlaps(places, deviations, seen)
    differ = classes[:, None] != seen_classes
    if differ.any():
        overlap[differ] *= OTHER_CLASS
    if strong.all():
        rows, columns = assign(overlap, LEAST_OVERLAP)
        tracks[columns] = rows
        return tracks
    chosen = strong.nonzero()[0]
    rows, columns = assign(overlap[:, chosen], LEAST_OVERLAP)
    tracks[chosen[columns]] = rows
    left = np.ones(len(places), bool)
    left[rows] = False
    free, weak = left.nonzero()[0], (~strong).nonzero()[0]
    rows, columns = assign(overlap[np.ix_(free, weak)], LEAST_OVERLAP_WEAK)
    tracks[weak[columns]] = free[rows]
    return tracks
