"""Scenery: the static part of the street, its occluders, and its light and weather."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
MARGIN = 12
"""Pixels by which the background is larger than the frame on each side, for the camera's shake."""
LIGHT_LEVELS = 24
"""Levels of light from noon (0) to night."""
HORIZON = 0.40
"""Height of the street's far edge, as a share of the frame's height."""


@dataclass(frozen=True, eq=False)
class Occluder:
    """A static object in front of which, or behind which, road users pass."""

    image: Image
    mask: Image
    x: int
    y: int
    depth: float
    """Its ground line, as a share of the frame's height: it hides road users whose ground line is higher up."""


@dataclass(frozen=True, eq=False)
class Scenery:
    """The static parts of one street, in full light."""

    background: Image
    """(H + 2 MARGIN, W + 2 MARGIN, 3) uint8 BGR."""
    windows: Image
    """The same shape; the windows that are lit at night."""
    occluders: tuple[Occluder, ...]


def draw_scenery(rng: np.random.Generator, width: int, height: int) -> Scenery:
    """Draw a street's static parts; ``rng`` chooses all of them, ``width`` and ``height`` are in pixels."""
    size = (height + 2 * MARGIN, width + 2 * MARGIN)
    canvas = _sky(size, rng)
    windows = np.zeros_like(canvas)
    ground = MARGIN + round(HORIZON * height)
    _houses(canvas, windows, ground, height, rng)
    _road(canvas, ground, height, rng)
    grain = rng.normal(0, 3.0, size).astype(np.float32)[..., None]
    canvas = np.clip(canvas.astype(np.float32) + grain, 0, 255).astype(np.uint8)
    return Scenery(canvas, windows, tuple(_occluders(width, height, rng)))


def lit(image: Image, light: float, fog: float, haze: float) -> Image:
    """Return an image as it looks in a light (0 noon, 1 night) and fog (0 none, 1 thick).

    ``haze`` (0 to 1) says how far away its content is: the farther, the more the fog hides it.
    """
    dusk = 4 * light * (1 - light)
    gains = np.array([1 - 0.62 * light, 1 - 0.70 * light - 0.05 * dusk, 1 - 0.74 * light + 0.10 * dusk])
    veil = 0.75 * fog * haze
    mist = np.array([215.0, 212.0, 208.0]) * (1 - 0.7 * light)
    levels = np.arange(256)[:, None] * gains * (1 - veil) + mist * veil
    table = np.clip(levels, 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(image, table), np.uint8)


def _sky(size: tuple[int, int], rng: np.random.Generator) -> Image:
    top, low = np.array([225, 175, 120]), np.array([235, 220, 200])
    ramp = np.linspace(0, 1, size[0])[:, None]
    canvas = np.repeat((top * (1 - ramp) + low * ramp)[:, None], size[1], 1).astype(np.uint8)
    for _ in range(int(rng.integers(2, 6))):
        centre = (int(rng.integers(size[1])), int(rng.integers(size[0] // 5)))
        axes = (int(size[1] * rng.uniform(0.05, 0.12)), int(size[0] * rng.uniform(0.01, 0.03)))
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, (245, 242, 238), cv2.FILLED, cv2.LINE_AA)
    return np.ascontiguousarray(canvas)


def _houses(canvas: Image, windows: Image, ground: int, height: int, rng: np.random.Generator) -> None:
    left = -int(rng.integers(0, 60))
    while left < canvas.shape[1]:
        wide = int(height * rng.uniform(0.22, 0.5))
        top = ground - int(height * rng.uniform(0.22, 0.39))
        wall = _muted(rng, 90, 215)
        cv2.rectangle(canvas, (left, top), (left + wide, ground), wall, cv2.FILLED)
        cv2.rectangle(canvas, (left, top), (left + wide, top + 5), _darker(wall, 0.6), cv2.FILLED)
        _windows(canvas, windows, (left, top, wide, ground), height, rng)
        left += wide + int(rng.integers(0, max(2, height // 60)))


def _windows(
    canvas: Image, windows: Image, house: tuple[int, int, int, int], height: int, rng: np.random.Generator
) -> None:
    left, top, wide, ground = house
    step_x, step_y = max(10, round(height * 0.055)), max(12, round(height * 0.075))
    for y in range(top + step_y // 3, ground - step_y, step_y):
        for x in range(left + step_x // 3, left + wide - step_x // 2, step_x):
            corner = (x + round(step_x * 0.5), y + round(step_y * 0.55))
            cv2.rectangle(canvas, (x, y), corner, _muted(rng, 60, 120), cv2.FILLED)
            if rng.random() < 0.45:
                cv2.rectangle(windows, (x, y), corner, (90, 190, 235), cv2.FILLED)


def _road(canvas: Image, ground: int, height: int, rng: np.random.Generator) -> None:
    wide = canvas.shape[1]

    def y(share: float) -> int:
        return MARGIN + round(share * height)

    stone, tar = int(rng.integers(140, 175)), int(rng.integers(75, 105))
    cv2.rectangle(canvas, (0, ground), (wide, canvas.shape[0]), (stone, stone, stone), cv2.FILLED)
    cv2.rectangle(canvas, (0, y(0.50)), (wide, y(0.88)), (tar, tar, tar + 2), cv2.FILLED)
    for edge in (0.495, 0.88):
        cv2.rectangle(canvas, (0, y(edge)), (wide, y(edge + 0.012)), (195, 195, 200), cv2.FILLED)
    dash, thick = round(height * 0.12), max(2, height // 140)
    for x in range(-int(rng.integers(dash)), wide, 2 * dash):
        cv2.rectangle(canvas, (x, y(0.665)), (x + dash, y(0.665) + thick), (215, 220, 220), cv2.FILLED)
    for _ in range(14):
        spot = (int(rng.integers(wide)), int(rng.integers(y(0.51), y(0.87))))
        axes = (int(height * rng.uniform(0.02, 0.10)), int(height * rng.uniform(0.004, 0.015)))
        cv2.ellipse(canvas, spot, axes, 0, 0, 360, (tar - 12,) * 3, cv2.FILLED, cv2.LINE_AA)


def _occluders(width: int, height: int, rng: np.random.Generator) -> list[Occluder]:
    things = []
    for _ in range(int(rng.integers(1, 3))):
        things.append(_tree(int(rng.uniform(0.03, 0.97) * width), 0.492, height, rng))
    for _ in range(int(rng.integers(0, 2))):
        things.append(_lamp(int(rng.uniform(0.05, 0.95) * width), 0.90, height))
    return things


def _tree(x: int, depth: float, height: int, rng: np.random.Generator) -> Occluder:
    tall, wide = round(height * 0.34), round(height * 0.24)
    image, mask = np.zeros((tall, wide, 3), np.uint8), np.zeros((tall, wide), np.uint8)
    trunk = max(3, height // 70)
    for canvas, colour in ((image, (45, 62, 82)), (mask, 255)):
        cv2.rectangle(canvas, (wide // 2 - trunk // 2, tall // 3), (wide // 2 + trunk // 2, tall), colour, -1)
    for _ in range(26):
        spot = (int(rng.normal(wide / 2, wide / 7)), int(rng.normal(tall * 0.24, tall * 0.07)))
        size = int(height * rng.uniform(0.02, 0.045))
        green = (int(rng.integers(35, 60)), int(rng.integers(90, 140)), int(rng.integers(45, 85)))
        cv2.circle(image, spot, size, green, cv2.FILLED)
        cv2.circle(mask, spot, size, 255, cv2.FILLED)
    return Occluder(image, mask, x - wide // 2, round(depth * height) - tall, depth)


def _lamp(x: int, depth: float, height: int) -> Occluder:
    tall, wide = round(height * 0.62), round(height * 0.09)
    image, mask = np.zeros((tall, wide, 3), np.uint8), np.zeros((tall, wide), np.uint8)
    thick = max(2, height // 110)
    for canvas, colour in ((image, (70, 74, 78)), (mask, 255)):
        cv2.rectangle(canvas, (0, 4), (thick, tall), colour, cv2.FILLED)
        cv2.rectangle(canvas, (0, 4), (wide - 1, 4 + thick), colour, cv2.FILLED)
        cv2.rectangle(canvas, (wide * 2 // 3, 4), (wide - 1, 4 + 2 * thick), colour, cv2.FILLED)
    return Occluder(image, mask, x, round(depth * height) - tall, depth)


def _muted(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    grey = rng.integers(low, high)
    blue, green, red = (int(np.clip(grey + rng.integers(-28, 29), 0, 255)) for _ in range(3))
    return blue, green, red


def _darker(colour: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    blue, green, red = (int(part * share) for part in colour)
    return blue, green, red


class Weather:
    """Rain, snow and sensor noise, cropped from tiles that are drawn once."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self._size = (height, width)
        tile = (height + 64, width + 64)
        noise = rng.normal(0, 1, tile)
        self._brighter = np.clip(noise * 7, 0, 40).astype(np.uint8)
        self._darker = np.clip(-noise * 7, 0, 40).astype(np.uint8)
        self._rain = self._streaks(rng, tile, height)
        self._snow = self._flakes(rng, tile, height)

    def apply(self, image: Image, index: int, rain: float, snow: float, noise: bool) -> None:
        """Add rain and snow, each from 0 to 1, and sensor noise to frame ``index``, in place."""
        draw = np.random.default_rng((97, index))
        if rain > 0.15:
            cv2.add(image, self._crop(self._rain, draw), image)
        if snow > 0.15:
            cv2.add(image, self._crop(self._snow, draw), image)
        if noise:
            cv2.add(image, cv2.merge([self._crop(self._brighter, draw)] * 3), image)
            cv2.subtract(image, cv2.merge([self._crop(self._darker, draw)] * 3), image)

    def _crop(self, tile: Image, draw: np.random.Generator) -> Image:
        y, x = (int(offset) for offset in draw.integers(0, 64, 2))
        return tile[y : y + self._size[0], x : x + self._size[1]]

    @staticmethod
    def _streaks(rng: np.random.Generator, tile: tuple[int, int], height: int) -> Image:
        canvas = np.zeros((*tile, 3), np.uint8)
        for _ in range(tile[0] * tile[1] // 2600):
            x, y = int(rng.integers(tile[1])), int(rng.integers(tile[0]))
            length = int(height * rng.uniform(0.015, 0.04))
            cv2.line(canvas, (x, y), (x + length // 4, y + length), (48, 44, 42), 1)
        return canvas

    @staticmethod
    def _flakes(rng: np.random.Generator, tile: tuple[int, int], height: int) -> Image:
        canvas = np.zeros((*tile, 3), np.uint8)
        for _ in range(tile[0] * tile[1] // 3000):
            spot = (int(rng.integers(tile[1])), int(rng.integers(tile[0])))
            cv2.circle(canvas, spot, max(1, round(height * rng.uniform(0.001, 0.003))), (120,) * 3, cv2.FILLED)
        return canvas


def wave(seconds: float, period_s: float, phase: float) -> float:
    """Return a sine wave of the time, between 0 and 1; ``phase`` is a share of the period."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * (seconds / period_s + phase))
