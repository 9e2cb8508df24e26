"""Area and Line: shapes on the picture, in heights of the frame, so that a length is the same in both directions."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
_BORDER = 1e-3
"""How far a shape that reaches the frame's border goes beyond it: a box that is cut off there is still inside."""


def scaled(points: Sequence[Point], aspect: float) -> list[Point]:
    """Return points of 0…1 coordinates in heights of the frame; those on its border go a thousandth beyond it."""
    return [(_beyond(x) * aspect, _beyond(y)) for x, y in points]


def _beyond(coordinate: float) -> float:
    if coordinate <= 0.0:
        return -_BORDER
    return 1.0 + _BORDER if coordinate >= 1.0 else coordinate


class Area:
    """A polygon, and the same grown by a margin: what is inside has left only outside the grown one."""

    def __init__(self, points: Sequence[Point], aspect: float, margin: float) -> None:
        """Take the polygon's corners in 0…1 coordinates, the frame's width by height, and the margin in its heights."""
        corners = scaled(points, aspect)
        self._margin = margin
        self._edges = [
            (x1, y1, x2, y2, (x2 - x1) / (y2 - y1) if y1 != y2 else 0.0)
            for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True)
        ]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        self.bounds = min(xs) - margin, max(xs) + margin, min(ys) - margin, max(ys) + margin
        """Left, right, top and bottom of the grown polygon: nothing beyond is inside."""
        self._corners = corners
        self._grown = _grow(corners, margin)

    def contains(self, x: float, y: float, was_inside: bool) -> bool:
        """Return whether a point is inside; one that was inside has the margin as well.

        >>> square = Area([(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)], 1.0, 0.01)
        >>> square.contains(0.805, 0.5, False), square.contains(0.805, 0.5, True), square.contains(0.815, 0.5, True)
        (False, True, False)
        """
        left, right, top, bottom = self.bounds
        if not (left <= x <= right and top <= y <= bottom):
            return False
        inside = False
        for x1, y1, _, y2, slope in self._edges:  # a ray to the left, by the even-odd rule
            if (y1 > y) != (y2 > y) and x > x1 + (y - y1) * slope:
                inside = not inside
        return inside or (was_inside and self._is_near(x, y))

    def share(self, x: float, y: float, width: float, height: float, was_inside: bool) -> float:
        """Return the share of a box that is inside, or inside the grown polygon for one that was inside.

        Args:
            x: left side.
            y: top side.
            width: of the box.
            height: of the box.
            was_inside: whether its object was inside in the frame before.

        >>> round(Area([(0, 0), (0.5, 0), (0.5, 1), (0, 1)], 1.0, 0.01).share(0.4, 0.2, 0.2, 0.2, False), 3)
        0.5
        """
        left, right, top, bottom = self.bounds
        if not (x <= right and x + width >= left and y <= bottom and y + height >= top):
            return 0.0
        cut = _clip(self._grown if was_inside else self._corners, x, y, x + width, y + height)
        return min(1.0, abs(_area(cut)) / max(width * height, 1e-12))

    def _is_near(self, x: float, y: float) -> bool:
        most = self._margin * self._margin
        for x1, y1, x2, y2, _ in self._edges:
            dx, dy = x2 - x1, y2 - y1
            along = ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy)
            along = min(1.0, max(0.0, along))
            ox, oy = x - x1 - along * dx, y - y1 - along * dy
            if ox * ox + oy * oy <= most:
                return True
        return False


class Line:
    """A segment from A to B."""

    def __init__(self, a: Point, b: Point, aspect: float) -> None:
        """Take the two points in 0…1 coordinates and the frame's width by height."""
        (x, y), (bx, by) = scaled([a, b], aspect)
        self._length = math.hypot(bx - x, by - y)
        self.form = x, y, (bx - x) / self._length, (by - y) / self._length
        """A, and the direction to B as a vector of length 1."""

    def distance(self, x: float, y: float) -> float:
        """Return the distance from the endless line: negative to the left as seen from A to B.

        >>> Line((0.5, 1.0), (0.5, 0.0), 1.0).distance(0.25, 0.5)  # from the bottom up: left is left
        -0.25
        """
        from_x, from_y, right, down = self.form
        return right * (y - from_y) - down * (x - from_x)

    def is_beside(self, x: float, y: float) -> bool:
        """Return whether a point of the endless line is on the segment."""
        from_x, from_y, right, down = self.form
        return 0.0 <= right * (x - from_x) + down * (y - from_y) <= self._length


def _area(corners: Sequence[Point]) -> float:
    """Return the signed area of a polygon."""
    return 0.5 * sum(
        corners[index - 1][0] * corners[index][1] - corners[index][0] * corners[index - 1][1]
        for index in range(len(corners))
    )


def _grow(corners: Sequence[Point], margin: float) -> list[Point]:
    """Return a polygon with each edge moved outwards by a margin; a sharp corner goes out by at most twice as much."""
    if margin == 0:
        return list(corners)
    turn = 1.0 if _area(corners) > 0 else -1.0
    normals = []
    for index, (x, y) in enumerate(corners):
        nx, ny = corners[(index + 1) % len(corners)]
        length = math.hypot(nx - x, ny - y)
        normals.append((turn * (ny - y) / length, turn * (x - nx) / length))
    grown = []
    for index, (x, y) in enumerate(corners):
        (ax, ay), (bx, by) = normals[index - 1], normals[index]
        factor = margin / max(0.25, 0.5 * (1 + ax * bx + ay * by)) / 2
        grown.append((x + (ax + bx) * factor, y + (ay + by) * factor))
    return grown


def _clip(corners: Sequence[Point], left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Return what of a polygon is in a rectangle (Sutherland and Hodgman, 1974).

    What is cut from a polygon that is not convex can have edges that lie on each other; they add no area.
    """
    cut = list(corners)
    for axis, limit, sign in ((0, left, 1.0), (0, right, -1.0), (1, top, 1.0), (1, bottom, -1.0)):
        kept: list[Point] = []
        for index, here in enumerate(cut):
            before = cut[index - 1]
            inside, was = sign * (here[axis] - limit) >= 0, sign * (before[axis] - limit) >= 0
            if inside != was:
                part = (limit - before[axis]) / (here[axis] - before[axis])
                kept.append((before[0] + part * (here[0] - before[0]), before[1] + part * (here[1] - before[1])))
            if inside:
                kept.append(here)
        cut = kept
        if not cut:
            return []
    return cut
