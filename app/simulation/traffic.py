"""Traffic: the road users of a street, and where each is at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from app.simulation.course import Course, Crossing, Place, draw_course
from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS, THINGS, Colour, Look

PERSON, BICYCLE, CAR, BUS, TRUCK, SUITCASE = range(len(LABELS + THINGS))
_HEIGHTS = {PERSON: 0.25, BICYCLE: 0.25, CAR: 0.20, BUS: 0.37, TRUCK: 0.37, SUITCASE: 0.10}
"""Height of each class on the nearest lane, as a share of the frame's height."""
_BUS_LANE = 2
"""The near lane of the roadway."""


@dataclass(frozen=True)
class Lane:
    """A strip of the street, and who uses it."""

    ground: float
    """Its ground line, as a share of the frame's height."""
    scale: float
    classes: tuple[int, ...]
    weights: tuple[float, ...]
    direction: int
    """+1 to the right, -1 to the left, 0 in both directions."""


LANES = (
    Lane(0.475, 0.62, (PERSON, BICYCLE), (0.85, 0.15), 0),
    Lane(0.600, 0.72, (CAR, BUS, TRUCK, BICYCLE), (0.5, 0.17, 0.18, 0.15), -1),
    Lane(0.800, 0.95, (CAR, BUS, TRUCK, BICYCLE), (0.5, 0.17, 0.18, 0.15), 1),
    Lane(0.950, 1.10, (PERSON, BICYCLE), (0.8, 0.2), 0),
)


@dataclass(frozen=True)
class RoadUser:
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


class Traffic:
    """The road users of one street: one after the other in each of ``spec.objects`` slots, and others besides."""

    def __init__(self, spec: StreetSpec, others: Sequence[RoadUser] = ()) -> None:
        self._spec = spec
        self._others = others
        self._users: list[list[RoadUser]] = [[] for _ in range(spec.objects)]

    def at(self, seconds: float) -> list[tuple[RoadUser, Place]]:
        """Return who is there ``seconds`` after the scene's start, as it looks then, and where."""
        present = [self._alive(slot, seconds) for slot in range(self._spec.objects)]
        present += [user for user in self._others if user.begins <= seconds < user.ends]
        return [self._seen(user, seconds - user.begins) for user in present if user is not None]

    def _seen(self, user: RoadUser, elapsed: float) -> tuple[RoadUser, Place]:
        if user.course is None:
            travelled = elapsed * user.speed
            x = self._entry(user) + user.direction * travelled
            return user, Place(x, LANES[user.lane].ground, travelled, user.direction)
        place = user.course.at(elapsed)
        scale = float(np.interp(place.ground, [lane.ground for lane in LANES], [lane.scale for lane in LANES]))
        height = max(8, round(user.look.height * scale / LANES[user.lane].scale))
        return replace(user, direction=place.facing, look=replace(user.look, height=height)), place

    def _entry(self, user: RoadUser) -> float:
        return entry_of(user.look, self._spec.width, user.direction)

    def _alive(self, slot: int, seconds: float) -> RoadUser | None:
        users = self._users[slot]
        while not users or users[-1].ends <= seconds:
            users.append(self._spawn(slot, len(users), users[-1].ends if users else None))
        for user in reversed(users):
            if user.begins <= seconds < user.ends:
                return user
            if user.ends <= seconds:
                break
        return None

    def _spawn(self, slot: int, number: int, after: float | None) -> RoadUser:
        rng = np.random.default_rng((self._spec.seed, 2, slot, number))
        waits = slot == 0 and "bus" in self._spec.motion
        lane_number = _BUS_LANE if waits else int(rng.choice(len(LANES), p=(0.24, 0.26, 0.27, 0.23)))
        lane = LANES[lane_number]
        look = choose_look(rng, replace(lane, classes=(BUS,), weights=(1.0,)) if waits else lane, self._spec.height)
        direction = lane.direction or int(rng.choice((-1, 1)))
        slow = look.class_id == PERSON
        speed = self._spec.width * lane.scale * float(rng.uniform(0.05, 0.09) if slow else rng.uniform(0.12, 0.34))
        duration = (self._spec.width + 2 * reach_of(look)) / speed
        user = RoadUser(slot * 100_000 + number + 1, 0.0, duration, lane_number, direction, speed, look, 0)
        course = self._draw_course(user, (slot, number), waits=waits) if self._spec.motion else None
        duration = duration if course is None else course.seconds
        # The scene is populated from its first frame: the first road users entered before it.
        begins = -float(rng.random()) * duration if after is None else after + float(rng.uniform(0.1, 1.2))
        lift = int(self._spec.height * rng.uniform(-0.02, 0.02))
        return replace(user, begins=begins, ends=begins + duration, lift=lift, course=course)

    def _draw_course(self, user: RoadUser, place: tuple[int, int], *, waits: bool) -> Course | None:
        start, lane = self._entry(user), LANES[user.lane]
        usual = Crossing(
            start, self._spec.width - start, user.speed, lane.ground, user.look.class_id == PERSON, self._spec.width
        )
        opposite = LANES[len(LANES) - 1 - user.lane].ground
        rng = np.random.default_rng((self._spec.seed, 3, *place))
        return draw_course(rng, self._spec.motion, usual, opposite, waits=waits)


def reach_of(look: Look) -> float:
    """Return half the length of a road user and some margin, in pixels."""
    return look.height * (1.7 * look.stretch if look.class_id >= CAR else 0.7)


def entry_of(look: Look, width: int, direction: int) -> float:
    """Return where the centre of a road user is, in pixels, when it is about to come into the frame."""
    return -reach_of(look) if direction > 0 else width + reach_of(look)


def choose_look(rng: np.random.Generator, lane: Lane, height: int) -> Look:
    """Return how a road user of a lane looks in a frame so many pixels high; ``rng`` chooses."""
    class_id = int(rng.choice(lane.classes, p=lane.weights))
    size = _HEIGHTS[class_id] * lane.scale * float(rng.uniform(0.86, 1.14))
    return Look(
        class_id=class_id,
        height=max(8, round(size * height)),
        colour=_paint(rng),
        second=_paint(rng),
        skin=_SKINS[int(rng.integers(len(_SKINS)))],
        stretch=float(rng.uniform(0.9, 1.12)),
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
