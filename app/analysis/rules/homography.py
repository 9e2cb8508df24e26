"""Homography: from the picture to the ground, by four points of both."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]


class Homography:
    """The projective map that takes four points to four others (Hartley and Zisserman, *Multiple View Geometry*, 4.1).

    It is solved in plain Python, so that any machine finds the same last bit.

    >>> ground = Homography([(0, 0), (1, 0), (1, 1), (0, 1)], [(0, 0), (8, 0), (8, 20), (0, 20)])
    >>> x, y = ground.place(0.5, 0.25)
    >>> round(x, 6), round(y, 6)
    (4.0, 5.0)
    """

    def __init__(self, points: Sequence[Point], targets: Sequence[Point]) -> None:
        """Take four points and where they go, no three of them on a line."""
        rows: list[list[float]] = []
        for (x, y), (u, v) in zip(points, targets, strict=True):
            rows.append([x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u])
            rows.append([0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v])
        self._a, self._b, self._c, self._d, self._e, self._f, self._g, self._h = _solve(rows)

    def place(self, x: float, y: float) -> Point:
        """Return where a point goes; one on the horizon goes far away."""
        depth = self._g * x + self._h * y + 1.0
        if abs(depth) < 1e-9:
            depth = 1e-9
        return (self._a * x + self._b * y + self._c) / depth, (self._d * x + self._e * y + self._f) / depth


def _solve(rows: list[list[float]]) -> list[float]:
    """Solve linear equations, the right side in the last column, by elimination with pivoting."""
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[row][size] / rows[row][row] for row in range(size)]
