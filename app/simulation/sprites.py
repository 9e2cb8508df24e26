"""Sprites: the image and the mask of each kind of road user, at the size of its lane.

A sprite is drawn at four times its size and shrunk, which smooths its edges; its mask has the same shapes in one
colour, so the box of an object is exact by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LABELS = ("person", "bicycle", "car", "bus", "truck")
"""Class names; a class id is an index into them. A ``bicycle`` has its rider on it."""
THINGS = ("suitcase",)
"""Classes that only a script brings into the scene; their ids follow those of ``LABELS``, which are what the bundled
model was trained on."""
PHASES = 8
"""Sprites in one cycle of walking or pedalling."""
_SUPERSAMPLING = 4
Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Sprite:
    """A road user, facing right."""

    image: NDArray[np.uint8]
    """(h, w, 3) uint8 BGR."""
    mask: NDArray[np.uint8]
    """(h, w) uint8, 255 where the road user is; it touches all four sides."""

    @property
    def area(self) -> int:
        """Number of pixels of the mask."""
        return int(cv2.countNonZero(self.mask))

    def flipped(self) -> Sprite:
        """Return the same road user, facing left."""
        return Sprite(np.ascontiguousarray(self.image[:, ::-1]), np.ascontiguousarray(self.mask[:, ::-1]))


@dataclass(frozen=True)
class Look:
    """How one road user looks."""

    class_id: int
    height: int
    """Pixels, from the ground to its top."""
    colour: Colour
    second: Colour
    skin: Colour
    stretch: float
    """Length, as a multiple of the usual one."""


class _Brush:
    """Draws the same shape into image and mask; coordinates are shares of the height, y upwards."""

    def __init__(self, height: int, length: float) -> None:
        self._unit = height * _SUPERSAMPLING
        self._pad = 8
        size = (int(self._unit * 1.02) + 2 * self._pad, int(self._unit * length) + 2 * self._pad)
        self._image = np.zeros((*size, 3), np.uint8)
        self._mask = np.zeros(size, np.uint8)

    def _point(self, x: float, y: float) -> tuple[int, int]:
        return round(self._pad + x * self._unit), round(self._image.shape[0] - self._pad - y * self._unit)

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        corners = np.array([self._point(x, y) for x, y in points], np.int32)
        cv2.fillPoly(self._image, [corners], colour)
        cv2.fillPoly(self._mask, [corners], 255)

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        size = max(1, round(radius * self._unit))
        cv2.circle(self._image, self._point(x, y), size, colour, cv2.FILLED)
        cv2.circle(self._mask, self._point(x, y), size, 255, cv2.FILLED)

    def ring(self, x: float, y: float, radius: float, colour: Colour, width: float) -> None:
        size, thick = max(1, round(radius * self._unit)), max(1, round(width * self._unit))
        cv2.circle(self._image, self._point(x, y), size, colour, thick)
        cv2.circle(self._mask, self._point(x, y), size, 255, thick)

    def line(self, points: list[tuple[float, float]], colour: Colour, width: float) -> None:
        path = np.array([self._point(x, y) for x, y in points], np.int32)
        thick = max(1, round(width * self._unit))
        cv2.polylines(self._image, [path], False, colour, thick)
        cv2.polylines(self._mask, [path], False, 255, thick)

    def sprite(self) -> Sprite:
        size = (self._image.shape[1] // _SUPERSAMPLING, self._image.shape[0] // _SUPERSAMPLING)
        image = cv2.resize(self._image, size, interpolation=cv2.INTER_AREA)
        cover = cv2.resize(self._mask, size, interpolation=cv2.INTER_AREA)
        # Edge pixels are darkened by the black background: divide by the share of them that is covered.
        share = np.maximum(cover, 64).astype(np.float32)[..., None] / 255
        image = np.clip(image / share, 0, 255).astype(np.uint8)
        mask = np.where(cover > 100, 255, 0).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        return Sprite(
            np.ascontiguousarray(image[y : y + height, x : x + width]),
            np.ascontiguousarray(mask[y : y + height, x : x + width]),
        )


def draw_sprite(look: Look, phase: int) -> Sprite:
    """Draw a road user, facing right, in phase ``phase`` (from 0) of the ``PHASES`` of its movement."""
    return _DRAW[look.class_id](look, 2 * math.pi * phase / PHASES)


def _person(look: Look, swing: float) -> Sprite:
    brush = _Brush(look.height, 0.62)
    x, step = 0.3, 0.13 * math.sin(swing)
    for side in (1, -1):
        knee = (x + side * step * 0.7, 0.24)
        foot = (x + side * step * 1.4, 0.03)
        brush.line([(x, 0.48), knee, foot, (foot[0] + 0.05, 0.03)], look.second, 0.085)
    brush.line([(x, 0.78), (x - step, 0.62), (x - step + 0.05, 0.5)], look.skin, 0.06)
    brush.polygon([(x - 0.11, 0.82), (x + 0.11, 0.82), (x + 0.09, 0.45), (x - 0.09, 0.45)], look.colour)
    brush.line([(x, 0.78), (x + step, 0.62), (x + step + 0.06, 0.5)], look.colour, 0.065)
    brush.disc(x + 0.01, 0.915, 0.078, look.skin)
    brush.polygon([(x - 0.075, 0.91), (x - 0.06, 0.99), (x + 0.06, 0.99), (x + 0.075, 0.94)], (30, 35, 45))
    return brush.sprite()


def _cyclist(look: Look, crank_angle: float) -> Sprite:
    brush = _Brush(look.height, 1.12)
    rear, front, radius = (0.24, 0.215), (0.86, 0.215), 0.2
    for wheel in (rear, front):
        brush.ring(*wheel, radius, (25, 25, 25), 0.035)
        brush.line([(wheel[0] - 0.17, 0.215), (wheel[0] + 0.17, 0.215)], (120, 120, 120), 0.01)
    crank = (0.52, 0.22)
    frame = [rear, (0.44, 0.5), (0.78, 0.52), crank, rear]
    brush.line(frame, look.second, 0.035)
    brush.line([front, (0.78, 0.52), (0.74, 0.62)], look.second, 0.035)
    for side in (0.0, math.pi):
        pedal = (crank[0] + 0.08 * math.cos(crank_angle + side), crank[1] + 0.08 * math.sin(crank_angle + side))
        brush.line([(0.42, 0.56), (0.57, 0.4 + 0.04 * math.sin(crank_angle + side)), pedal], (60, 50, 45), 0.07)
    brush.line([(0.42, 0.56), (0.56, 0.8)], look.colour, 0.15)
    brush.line([(0.56, 0.78), (0.66, 0.66), (0.75, 0.62)], look.skin, 0.05)
    brush.disc(0.62, 0.91, 0.075, look.skin)
    brush.polygon([(0.54, 0.92), (0.58, 0.995), (0.66, 0.995), (0.7, 0.93)], look.second)
    return brush.sprite()


def _car(look: Look, _: float) -> Sprite:
    length = 2.75 * look.stretch
    brush = _Brush(look.height, length)
    end = length - 0.02
    glass = (95, 80, 65)
    brush.polygon([(0.45, 0.55), (0.8, 0.99), (end - 1.15, 0.99), (end - 0.65, 0.55)], look.colour)
    brush.polygon([(0.62, 0.58), (0.87, 0.92), (length / 2 - 0.12, 0.92), (length / 2 - 0.12, 0.58)], glass)
    brush.polygon([(length / 2 - 0.05, 0.58), (length / 2 - 0.05, 0.92), (end - 1.2, 0.92), (end - 0.82, 0.58)], glass)
    body = [(0.02, 0.2), (0.02, 0.52), (0.2, 0.62), (end - 0.6, 0.6), (end - 0.05, 0.48), (end, 0.2)]
    brush.polygon(body, look.colour)
    brush.box(0.02, 0.2, end, 0.26, tuple(int(part * 0.55) for part in look.colour))  # type: ignore[arg-type]
    brush.box(length / 2 - 0.1, 0.45, length / 2 + 0.05, 0.48, (50, 50, 50))
    _lamps(brush, end, 0.42)
    for x in (0.55, end - 0.55):
        _wheel(brush, x, 0.235)
    return brush.sprite()


def _bus(look: Look, _: float) -> Sprite:
    length = 2.85 * look.stretch
    brush = _Brush(look.height, length)
    end = length - 0.02
    brush.box(0.02, 0.1, end, 0.98, look.colour)
    brush.box(0.02, 0.1, end, 0.2, look.second)
    brush.box(0.02, 0.4, end, 0.45, look.second)
    count = 6
    wide = (end - 0.35) / count
    for window in range(count):
        left = 0.08 + window * wide
        brush.box(left, 0.5, left + wide * 0.86, 0.86, (120, 100, 80))
    brush.box(end - 0.24, 0.42, end, 0.88, (130, 110, 90))
    brush.box(length * 0.42, 0.14, length * 0.42 + 0.2, 0.86, (100, 85, 70))
    _lamps(brush, end, 0.26)
    for x in (0.5, end - 0.5):
        _wheel(brush, x, 0.13)
    return brush.sprite()


def _truck(look: Look, _: float) -> Sprite:
    length = 2.45 * look.stretch
    brush = _Brush(look.height, length)
    end = length - 0.02
    cab = end - 0.62
    brush.box(0.04, 0.14, end - 0.1, 0.22, (45, 45, 45))
    brush.box(0.02, 0.22, cab - 0.06, 0.99, look.second)
    for rib in np.linspace(0.15, cab - 0.2, 7):
        brush.box(float(rib), 0.25, float(rib) + 0.015, 0.96, tuple(int(p * 0.8) for p in look.second))  # type: ignore[arg-type]
    brush.polygon([(cab, 0.16), (cab, 0.82), (end - 0.2, 0.82), (end, 0.5), (end, 0.16)], look.colour)
    brush.polygon([(cab + 0.14, 0.5), (cab + 0.14, 0.76), (end - 0.22, 0.76), (end - 0.06, 0.5)], (120, 100, 80))
    _lamps(brush, end, 0.24)
    for x in (0.38, 0.72, end - 0.36):
        _wheel(brush, x, 0.135)
    return brush.sprite()


def _suitcase(look: Look, _: float) -> Sprite:
    brush = _Brush(look.height, 0.8)
    brush.line([(0.3, 0.7), (0.3, 0.96), (0.5, 0.96), (0.5, 0.7)], (60, 60, 60), 0.06)
    brush.box(0.06, 0.05, 0.74, 0.74, look.colour)
    brush.box(0.06, 0.38, 0.74, 0.43, look.second)
    for x in (0.16, 0.64):
        brush.disc(x, 0.05, 0.05, (28, 26, 26))
    return brush.sprite()


def _lamps(brush: _Brush, end: float, y: float) -> None:
    brush.box(end - 0.07, y - 0.05, end, y + 0.05, (190, 245, 255))
    brush.box(0.02, y - 0.03, 0.08, y + 0.08, (40, 40, 200))


def _wheel(brush: _Brush, x: float, radius: float) -> None:
    brush.disc(x, radius + 0.005, radius, (28, 26, 26))
    brush.disc(x, radius + 0.005, radius * 0.5, (150, 150, 150))


_DRAW: tuple[Callable[[Look, float], Sprite], ...] = (_person, _cyclist, _car, _bus, _truck, _suitcase)
