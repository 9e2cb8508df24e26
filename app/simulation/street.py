"""Street: a simulated street; any frame of it can be drawn, with its ground truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from app.simulation.incidents import stage
from app.simulation.scenery import LIGHT_LEVELS, MARGIN, Scenery, Weather, draw_scenery, lit, wave
from app.simulation.spec import StreetSpec
from app.simulation.sprites import PHASES, Sprite, draw_sprite
from app.simulation.traffic import BICYCLE, BUS, CAR, PERSON, TRUCK, RoadUser, Traffic

_FOG_LEVELS = 6
"""Levels of fog, from none (0) to thick."""


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The road users that are visible in a frame, the nearest last."""

    boxes: NDArray[np.float32]
    """(N, 4) float32, x1 y1 x2 y2 in pixels, clipped to the frame."""
    class_ids: NDArray[np.int64]
    """(N,) int64, index into ``LABELS + THINGS``."""
    identities: NDArray[np.int64]
    """(N,) int64, the identity of a road user, which is the same in every frame."""
    visible: NDArray[np.float32]
    """(N,) float32 in [0, 1], the share of its mask that is in the frame and not hidden."""


@dataclass(frozen=True, eq=False)
class StreetFrame:
    """One frame with its ground truth."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 BGR."""
    truth: GroundTruth


@dataclass(frozen=True)
class _Placed:
    """A road user in a frame; x and y are the top-left corner of its sprite."""

    user: RoadUser
    sprite: Sprite
    x: int
    y: int
    ground: float
    """Ground line, as a share of the frame's height, without the lift: what is nearer hides it."""


class Street:
    """Draws any frame of one street; the same parameters and index always give the same pixels.

    >>> from app.simulation.spec import StreetSpec
    >>> Street(StreetSpec(seed=7)).frame(100).image.shape
    (720, 1280, 3)
    """

    def __init__(self, spec: StreetSpec) -> None:
        self.spec = spec
        rng = np.random.default_rng((spec.seed, 1))
        self._scenery: Scenery = draw_scenery(rng, spec.width, spec.height)
        self._weather = Weather(rng, spec.width, spec.height)
        self._phases = tuple(float(phase) for phase in rng.random(6))
        self._character = rng.random(4)
        scripted, self.incidents = stage(spec)
        """The incidents of the script, in its order: their types, times, identities and zones."""
        self._traffic = Traffic(spec, scripted)
        self._backdrop = lru_cache(maxsize=2)(self._draw_backdrop)
        self._sprite = lru_cache(maxsize=128)(self._draw_sprite)
        self._occluder = lru_cache(maxsize=16)(self._draw_occluder)

    def frame(self, index: int) -> StreetFrame:
        """Draw frame ``index`` (from 0), which shows the scene ``index / fps`` seconds after its start."""
        seconds = index / self.spec.fps
        light, fog, rain, snow = self._conditions(seconds)
        shake = self._shake(seconds)
        canvas = self._backdrop(light, fog)
        top, left = MARGIN - shake[1], MARGIN - shake[0]
        image = canvas[top : top + self.spec.height, left : left + self.spec.width].copy()
        owners = np.zeros(image.shape[:2], np.uint8)
        placed = self._place(seconds, shake, light, fog)
        self._compose(image, owners, placed, shake, light, fog)
        if light > LIGHT_LEVELS * 0.55:
            self._headlamps(image, placed)
        self._weather.apply(image, index, rain, snow, self._character[3] < 0.7)
        return StreetFrame(image, self._truth(owners, placed))

    def truth(self, index: int) -> GroundTruth:
        """Return ``frame(index).truth`` without drawing the picture."""
        shake = self._shake(index / self.spec.fps)
        owners = np.zeros((self.spec.height, self.spec.width), np.uint8)
        placed = self._place(index / self.spec.fps, shake, 0, 0)
        self._compose(np.empty((*owners.shape, 3), np.uint8), owners, placed, shake, 0, 0)
        return self._truth(owners, placed)

    def _conditions(self, seconds: float) -> tuple[int, int, float, float]:
        """Return light (0 to LIGHT_LEVELS - 1), fog (0 to _FOG_LEVELS - 1), rain and snow (each 0 to 1) at a time."""
        day, damp, wet = self._character[:3]
        light = 0.85 * max(0.0, (day - 0.35) / 0.65) + 0.15 * wave(seconds, 600, self._phases[0])
        fog = wave(seconds, 420, self._phases[1]) if damp > 0.7 else 0.15 * wave(seconds, 420, self._phases[1])
        falls = wave(seconds, 300, self._phases[2])
        rain, snow = (falls if 0.5 < wet < 0.8 else 0.0), (falls if wet >= 0.8 else 0.0)
        return (
            min(LIGHT_LEVELS - 1, int(light * LIGHT_LEVELS)),
            min(_FOG_LEVELS - 1, int(fog * _FOG_LEVELS)),
            rain,
            snow,
        )

    def _shake(self, seconds: float) -> tuple[int, int]:
        strength = self.spec.height / 720 * 2.2
        x = strength * math.sin(seconds * 7.3 + self._phases[3] * 6) * math.sin(seconds * 1.9)
        y = strength * math.sin(seconds * 9.1 + self._phases[4] * 6) * math.sin(seconds * 2.3)
        limit = MARGIN - 1
        return max(-limit, min(limit, round(x))), max(-limit, min(limit, round(y)))

    def _draw_backdrop(self, light: int, fog: int) -> NDArray[np.uint8]:
        level, veil = light / LIGHT_LEVELS, fog / _FOG_LEVELS
        canvas = lit(self._scenery.background, level, veil, 0.8)
        if level > 0.35:
            shine = cv2.convertScaleAbs(self._scenery.windows, alpha=min(1.0, (level - 0.35) * 2))
            canvas = np.maximum(canvas, shine)
        return canvas

    def _draw_sprite(self, user: RoadUser, phase: int, light: int, fog: int) -> Sprite:
        sprite = draw_sprite(user.look, phase)
        sprite = sprite if user.direction > 0 else sprite.flipped()
        image = lit(sprite.image, 0.9 * light / LIGHT_LEVELS, fog / _FOG_LEVELS, 0.7 - 0.15 * user.lane)
        return Sprite(image, sprite.mask)

    def _draw_occluder(self, number: int, light: int, fog: int) -> NDArray[np.uint8]:
        return lit(self._scenery.occluders[number].image, light / LIGHT_LEVELS, fog / _FOG_LEVELS, 0.6)

    def _place(self, seconds: float, shake: tuple[int, int], light: int, fog: int) -> list[_Placed]:
        placed = []
        for user, place in self._traffic.at(seconds):
            pace = 3.2 if user.look.class_id == PERSON else 2.2
            moves = user.look.class_id in (PERSON, BICYCLE)
            phase = int(place.travelled / user.look.height * pace * PHASES / 2) % PHASES if moves else 0
            sprite = self._sprite(user, phase, light, fog)
            high, wide = sprite.mask.shape
            ground = round(place.ground * self.spec.height) + user.lift
            x, y = round(place.x - wide / 2) + shake[0], ground - high + shake[1]
            placed.append(_Placed(user, sprite, x, y, place.ground))
        return sorted(placed, key=lambda thing: (thing.ground, thing.user.lift, thing.user.identity))

    def _compose(
        self,
        image: NDArray[np.uint8],
        owners: NDArray[np.uint8],
        placed: list[_Placed],
        shake: tuple[int, int],
        light: int,
        fog: int,
    ) -> None:
        """Paint the farthest first; ``owners`` gets 1 + the index of the road user that a pixel shows, or 0."""
        waiting = sorted(enumerate(self._scenery.occluders), key=lambda pair: pair[1].depth)
        for number, thing in enumerate(placed):
            while waiting and waiting[0][1].depth < thing.ground:
                self._paste_occluder(image, owners, waiting.pop(0)[0], shake, light, fog)
            _paste(image, owners, thing.sprite.image, thing.sprite.mask, (thing.x, thing.y), number + 1)
        for number, _ in waiting:
            self._paste_occluder(image, owners, number, shake, light, fog)

    def _paste_occluder(
        self,
        image: NDArray[np.uint8],
        owners: NDArray[np.uint8],
        number: int,
        shake: tuple[int, int],
        light: int,
        fog: int,
    ) -> None:
        occluder = self._scenery.occluders[number]
        where = (occluder.x + shake[0], occluder.y + shake[1])
        _paste(image, owners, self._occluder(number, light, fog), occluder.mask, where, 0)

    @staticmethod
    def _headlamps(image: NDArray[np.uint8], placed: list[_Placed]) -> None:
        for thing in placed:
            if thing.user.look.class_id not in (CAR, BUS, TRUCK):
                continue
            high, wide = thing.sprite.mask.shape
            share = 0.42 if thing.user.look.class_id == CAR else 0.25
            y = thing.y + round(high * (1 - share))
            front, rear = (thing.x + wide, thing.x) if thing.user.direction > 0 else (thing.x, thing.x + wide)
            cv2.circle(image, (front - 2 * thing.user.direction, y), max(2, high // 22), (215, 250, 255), -1)
            cv2.circle(image, (rear + 2 * thing.user.direction, y), max(1, high // 30), (60, 60, 235), -1)

    def _truth(self, owners: NDArray[np.uint8], placed: list[_Placed]) -> GroundTruth:
        boxes, kept, visible = [], [], []
        for number, thing in enumerate(placed):
            high, wide = thing.sprite.mask.shape
            x1, y1 = max(0, thing.x), max(0, thing.y)
            x2, y2 = min(self.spec.width, thing.x + wide), min(self.spec.height, thing.y + high)
            if x1 >= x2 or y1 >= y2:
                continue
            seen = np.count_nonzero(owners[y1:y2, x1:x2] == number + 1)
            boxes.append((x1, y1, x2, y2))
            kept.append(thing.user)
            visible.append(seen / thing.sprite.area)
        return GroundTruth(
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            class_ids=np.array([user.look.class_id for user in kept], np.int64),
            identities=np.array([user.identity for user in kept], np.int64),
            visible=np.array(visible, np.float32),
        )


def _paste(
    image: NDArray[np.uint8],
    owners: NDArray[np.uint8],
    picture: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    where: tuple[int, int],
    owner: int,
) -> None:
    """Copy what the mask covers to (x, y), as far as it lies in the image, and set ``owner`` for those pixels."""
    (x, y), (high, wide) = where, mask.shape
    x1, y1, x2, y2 = max(0, x), max(0, y), min(image.shape[1], x + wide), min(image.shape[0], y + high)
    if x1 >= x2 or y1 >= y2:
        return
    part = (slice(y1 - y, y2 - y), slice(x1 - x, x2 - x))
    cv2.copyTo(picture[part], mask[part], image[y1:y2, x1:x2])
    owners[y1:y2, x1:x2][mask[part] > 0] = owner
