"""Polygon: the part of a camera's picture that is painted black before anything is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

MAX_POLYGONS, MAX_POINTS = 64, 256
"""Of one camera, and of one polygon."""
FORMAT = "x,y x,y x,y with at least three points, each number from 0 to 1"
"""A polygon as text."""


def parse_polygon(text: str) -> list[tuple[float, float]]:
    """Return the points of a polygon that is written ``x,y x,y x,y``.

    >>> parse_polygon("0,0 0.3,0 0.3,0.2")
    [(0.0, 0.0), (0.3, 0.0), (0.3, 0.2)]

    Raises:
        ValueError: it is not so written; numbers outside 0 to 1 are not looked for.
    """
    try:
        points = [tuple(float(number) for number in point.split(",")) for point in text.split()]
    except ValueError:
        points = []
    pairs = [(point[0], point[1]) for point in points if len(point) == 2]
    if len(pairs) < 3 or len(pairs) < len(points):
        raise ValueError(f"allowed is {FORMAT}")
    return pairs


def _points(value: object) -> object:
    return parse_polygon(value) if isinstance(value, str) else value


def _enclosing(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Refuse points on one line: they would hide nothing, and be a mistake that nobody notices."""
    (x, y), rest = points[0], points[1:]
    if not any((a - x) * (d - y) - (b - y) * (c - x) for (a, b) in rest for (c, d) in rest):
        raise ValueError("its points lie on one line; allowed is a polygon that encloses a part of the picture")
    return points


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""Of the picture's width from the left, or of its height from the top."""
Polygon = Annotated[
    tuple[tuple[Share, Share], ...],
    BeforeValidator(_points),
    Field(min_length=3, max_length=MAX_POINTS),
    AfterValidator(_enclosing),
]
"""Points (x, y) in order; the last one is joined to the first."""
Polygons = Annotated[tuple[Polygon, ...], Field(max_length=MAX_POLYGONS)]
