"""Shapes that a rule draws on the picture: zone, line, arrow, ground; coordinates are 0…1 of the frame."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from app.settings.connections import Frozen

Coordinate = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Coordinate, Coordinate]
"""x and y; (0, 0) is the frame's top-left corner."""
Metres = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
MAX_CORNERS = 100
_Pair = tuple[float, float]


def _with_points(value: object) -> object:
    """Return a shape without a name, a list of points, as a shape."""
    return {"points": value} if isinstance(value, (list, tuple)) else value


def _turn(a: _Pair, b: _Pair, c: _Pair) -> float:
    """Return twice the signed area of a triangle."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _cross(a: _Pair, b: _Pair, c: _Pair, d: _Pair) -> bool:
    """Return whether the segments ab and cd cross inside both."""
    return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0


def _polygon(points: tuple[Point, ...]) -> tuple[Point, ...]:
    size = len(points)
    if not 3 <= size <= MAX_CORNERS:
        raise ValueError(f"{size} points; allowed are 3 to {MAX_CORNERS}")
    if len(set(points)) < size:
        raise ValueError("a point is given twice; the last point is joined to the first by itself")
    edges = [(points[index], points[(index + 1) % size]) for index in range(size)]
    if any(_cross(*one, *other) for index, one in enumerate(edges) for other in edges[index + 1 :]):
        raise ValueError("its edges cross; give the corners in their order around the zone")
    if abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in edges)) < 1e-6:
        raise ValueError("it has no area")
    return points


def _segment(points: tuple[Point, Point]) -> tuple[Point, Point]:
    if points[0] == points[1]:
        raise ValueError("its two points are the same")
    return points


class ZoneShape(Frozen):
    """A polygon, with a name where its rule's id is not name enough."""

    points: Annotated[tuple[Point, ...], AfterValidator(_polygon)]
    name: Name | None = None


class LineShape(Frozen):
    """A segment from A to B, with a name where its rule's id is not name enough."""

    points: Annotated[tuple[Point, Point], AfterValidator(_segment)]
    name: Name | None = None


Zone = Annotated[ZoneShape, BeforeValidator(_with_points)]
Line = Annotated[LineShape, BeforeValidator(_with_points)]
Arrow = Annotated[tuple[Point, Point], AfterValidator(_segment)]
"""A direction on the picture: from the first point to the second."""


class Ground(Frozen):
    """Four points of the picture and where they are on the ground."""

    points: tuple[Point, Point, Point, Point]
    metres: tuple[tuple[Metres, Metres], ...]
    """Of the same four, in metres, from any origin."""

    @model_validator(mode="before")
    @classmethod
    def _shape(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("allowed is a mapping of points (four of the picture) and metres (the same four)")
        return value

    @model_validator(mode="after")
    def _quadrangles(self) -> Ground:
        if len(self.metres) != 4:
            raise ValueError("metres: allowed are four points, those of points on the ground")
        for name, four in (("points", self.points), ("metres", self.metres)):
            corners = [_turn(*(four[(index + step) % 4] for step in range(3))) for index in range(4)]
            if not (all(turn > 1e-9 for turn in corners) or all(turn < -1e-9 for turn in corners)):
                raise ValueError(f"{name}: allowed are the corners of a convex quadrangle, in their order around it")
        return self
