"""Street: a simulated street; any frame of it can be drawn, with its ground truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from app.simulation.course import Course, Crossing, Place, draw_course
from app.simulation.scenery import LIGHT_LEVELS, MARGIN, Scenery, Weather, draw_scenery, lit, wave
from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS, PHASES, Colour, Look, Sprite, draw_sprite

PERSON, BICYCLE, CAR, BUS, TRUCK = range(len(LABELS))
_HEIGHTS = {PERSON: 0.25, BICYCLE: 0.25, CAR: 0.20, BUS: 0.37, TRUCK: 0.37}
"""Height of each class on the nearest lane, as a share of the frame's height."""
_BUS_LANE = 2
"""The near lane of the roadway."""
_FOG_LEVELS = 6
"""Levels of fog, from none (0) to thick."""


@dataclass(frozen=True)
class _Lane:
    ground: float
    """Its ground line, as a share of the frame's height."""
    scale: float
    classes: tuple[int, ...]
    weights: tuple[float, ...]
    direction: int
    """+1 to the right, -1 to the left, 0 in both directions."""


_LANES = (
    _Lane(0.475, 0.62, (PERSON, BICYCLE), (0.85, 0.15), 0),
    _Lane(0.600, 0.72, (CAR, BUS, TRUCK, BICYCLE), (0.5, 0.17, 0.18, 0.15), -1),
    _Lane(0.800, 0.95, (CAR, BUS, TRUCK, BICYCLE), (0.5, 0.17, 0.18, 0.15), 1),
    _Lane(0.950, 1.10, (PERSON, BICYCLE), (0.8, 0.2), 0),
)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The road users that are visible in a frame, the nearest last."""

    boxes: NDArray[np.float32]
    """(N, 4) float32, x1 y1 x2 y2 in pixels, clipped to the frame."""
    class_ids: NDArray[np.int64]
    """(N,) int64, index into ``LABELS``."""
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
class _RoadUser:
    """One road user, on its way from one side of the street to the other."""

    identity: int
    begins: float
    """Seconds."""
    ends: float
    lane: int
    direction: int
    speed: float
    """Pixels a second."""
    look: Look
    lift: int
    """Pixels from the lane's ground line, so that the ground lines of two road users seldom coincide."""
    course: Course | None = None
    """Its way, where it does not cross the street at one speed."""


@dataclass(frozen=True)
class _Placed:
    """A road user in a frame; x and y are the top-left corner of its sprite."""

    user: _RoadUser
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
        self._users: list[list[_RoadUser]] = [[] for _ in range(spec.objects)]
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

    def _draw_sprite(self, user: _RoadUser, phase: int, light: int, fog: int) -> Sprite:
        sprite = draw_sprite(user.look, phase)
        sprite = sprite if user.direction > 0 else sprite.flipped()
        image = lit(sprite.image, 0.9 * light / LIGHT_LEVELS, fog / _FOG_LEVELS, 0.7 - 0.15 * user.lane)
        return Sprite(image, sprite.mask)

    def _draw_occluder(self, number: int, light: int, fog: int) -> NDArray[np.uint8]:
        return lit(self._scenery.occluders[number].image, light / LIGHT_LEVELS, fog / _FOG_LEVELS, 0.6)

    def _place(self, seconds: float, shake: tuple[int, int], light: int, fog: int) -> list[_Placed]:
        placed = []
        for slot in range(self.spec.objects):
            user = self._alive(slot, seconds)
            if user is None:
                continue
            place = self._place_of(user, seconds - user.begins)
            user = self._as_seen(user, place)
            pace = 3.2 if user.look.class_id == PERSON else 2.2
            moves = user.look.class_id in (PERSON, BICYCLE)
            phase = int(place.travelled / user.look.height * pace * PHASES / 2) % PHASES if moves else 0
            sprite = self._sprite(user, phase, light, fog)
            high, wide = sprite.mask.shape
            ground = round(place.ground * self.spec.height) + user.lift
            x, y = round(place.x - wide / 2) + shake[0], ground - high + shake[1]
            placed.append(_Placed(user, sprite, x, y, place.ground))
        return sorted(placed, key=lambda thing: (thing.ground, thing.user.lift, thing.user.identity))

    def _place_of(self, user: _RoadUser, elapsed: float) -> Place:
        if user.course is not None:
            return user.course.at(elapsed)
        travelled = elapsed * user.speed
        x = self._entry(user) + user.direction * travelled
        return Place(x, _LANES[user.lane].ground, travelled, user.direction)

    @staticmethod
    def _as_seen(user: _RoadUser, place: Place) -> _RoadUser:
        """Return a road user with the direction and the height that it has at a place of its course."""
        if user.course is None:
            return user
        scale = float(np.interp(place.ground, [lane.ground for lane in _LANES], [lane.scale for lane in _LANES]))
        height = max(8, round(user.look.height * scale / _LANES[user.lane].scale))
        return replace(user, direction=place.facing, look=replace(user.look, height=height))

    def _entry(self, user: _RoadUser) -> float:
        reach = self._reach(user.look)
        return -reach if user.direction > 0 else self.spec.width + reach

    @staticmethod
    def _reach(look: Look) -> float:
        """Return half the length of a road user and some margin, in pixels."""
        return look.height * (1.7 * look.stretch if look.class_id >= CAR else 0.7)

    def _alive(self, slot: int, seconds: float) -> _RoadUser | None:
        users = self._users[slot]
        while not users or users[-1].ends <= seconds:
            users.append(self._spawn(slot, len(users), users[-1].ends if users else None))
        for user in reversed(users):
            if user.begins <= seconds < user.ends:
                return user
            if user.ends <= seconds:
                break
        return None

    def _spawn(self, slot: int, number: int, after: float | None) -> _RoadUser:
        rng = np.random.default_rng((self.spec.seed, 2, slot, number))
        waits = slot == 0 and "bus" in self.spec.motion
        lane_number = _BUS_LANE if waits else int(rng.choice(len(_LANES), p=(0.24, 0.26, 0.27, 0.23)))
        lane = _LANES[lane_number]
        look = self._choose_look(rng, replace(lane, classes=(BUS,), weights=(1.0,)) if waits else lane)
        direction = lane.direction or int(rng.choice((-1, 1)))
        slow = look.class_id == PERSON
        speed = self.spec.width * lane.scale * float(rng.uniform(0.05, 0.09) if slow else rng.uniform(0.12, 0.34))
        duration = (self.spec.width + 2 * self._reach(look)) / speed
        user = _RoadUser(slot * 100_000 + number + 1, 0.0, duration, lane_number, direction, speed, look, 0)
        course = self._draw_course(user, (slot, number), waits=waits) if self.spec.motion else None
        duration = duration if course is None else course.seconds
        # The scene is populated from its first frame: the first road users entered before it.
        begins = -float(rng.random()) * duration if after is None else after + float(rng.uniform(0.1, 1.2))
        lift = int(self.spec.height * rng.uniform(-0.02, 0.02))
        return replace(user, begins=begins, ends=begins + duration, lift=lift, course=course)

    def _draw_course(self, user: _RoadUser, place: tuple[int, int], *, waits: bool) -> Course | None:
        start, lane = self._entry(user), _LANES[user.lane]
        usual = Crossing(
            start, self.spec.width - start, user.speed, lane.ground, user.look.class_id == PERSON, self.spec.width
        )
        opposite = _LANES[len(_LANES) - 1 - user.lane].ground
        rng = np.random.default_rng((self.spec.seed, 3, *place))
        return draw_course(rng, self.spec.motion, usual, opposite, waits=waits)

    def _choose_look(self, rng: np.random.Generator, lane: _Lane) -> Look:
        class_id = int(rng.choice(lane.classes, p=lane.weights))
        size = _HEIGHTS[class_id] * lane.scale * float(rng.uniform(0.86, 1.14))
        return Look(
            class_id=class_id,
            height=max(8, round(size * self.spec.height)),
            colour=_paint(rng),
            second=_paint(rng),
            skin=_SKINS[int(rng.integers(len(_SKINS)))],
            stretch=float(rng.uniform(0.9, 1.12)),
        )

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
            if thing.user.look.class_id < CAR:
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


_SKINS: tuple[Colour, ...] = ((150, 185, 225), (110, 150, 200), (75, 105, 155), (45, 65, 105))


def _paint(rng: np.random.Generator) -> Colour:
    """Return a colour as vehicles and clothes have it: often grey, white or black, sometimes bright."""
    if rng.random() < 0.4:
        grey = int(rng.choice((35, 70, 130, 185, 235)))
        return grey, grey, grey
    hue, saturation, value = (int(rng.integers(low, high)) for low, high in ((0, 180), (110, 240), (90, 240)))
    pixel = np.array([[[hue, saturation, value]]], np.uint8)
    blue, green, red = (int(part) for part in cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0])
    return blue, green, red


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
