"""Course: the way of a road user that does not cross the street at one speed; chosen by ``motion=`` of the address."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.simulation.spec import MOTIONS

_EASE_S = 0.4
"""Half of the seconds in which a road user changes its speed."""
_EASE = np.linspace(-_EASE_S, _EASE_S, 9)


@dataclass(frozen=True)
class Place:
    """Where a road user is at one time."""

    x: float
    """Its centre, in pixels."""
    ground: float
    """Its ground line, as a share of the frame's height."""
    travelled: float
    """The way since it began, in pixels."""
    facing: int
    """+1: it looks to the right, -1: to the left."""


@dataclass(frozen=True)
class Leg:
    """A straight part of a way that takes some time; the road user waits where both ends are the same."""

    seconds: float
    x: float
    """Pixels, at its end."""
    ground: float
    """Share of the frame's height, at its end."""


class Course:
    """A way of straight legs whose changes of speed are eased: a mean over a window of time."""

    def __init__(self, x: float, ground: float, facing: int, legs: list[Leg]) -> None:
        self._times = np.cumsum([0.0, *(leg.seconds for leg in legs)])
        self._x = np.array([x, *(leg.x for leg in legs)])
        self._ground = np.array([ground, *(leg.ground for leg in legs)])
        self._travelled = np.cumsum([0.0, *np.abs(np.diff(self._x))])
        self._facings = []
        for step in np.diff(self._x):
            facing = int(np.sign(step)) or facing
            self._facings.append(facing)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return float(self._times[-1])

    def at(self, elapsed: float) -> Place:
        """Return the place ``elapsed`` seconds after the begin; before it and after the end: where those are."""
        leg = int(np.searchsorted(self._times, elapsed, side="right")) - 1
        return Place(
            x=self._eased(elapsed, self._x),
            ground=self._eased(elapsed, self._ground),
            travelled=self._eased(elapsed, self._travelled),
            facing=self._facings[min(max(leg, 0), len(self._facings) - 1)],
        )

    def _eased(self, elapsed: float, values: NDArray[np.float64]) -> float:
        return float(np.interp(elapsed + _EASE, self._times, values).mean())


@dataclass(frozen=True)
class Crossing:
    """How a road user would cross the street without a course."""

    start: float
    """Its centre at the begin, in pixels."""
    end: float
    speed: float
    """Pixels a second."""
    ground: float
    """Share of the frame's height."""
    pedestrian: bool
    width: int
    """Pixels of the frame."""


def draw_course(
    rng: np.random.Generator, kinds: Collection[str], usual: Crossing, other_side: float, *, waits: bool = False
) -> Course | None:
    """Return a course that ``rng`` chooses among the kinds, or None: the road user crosses as usual.

    Args:
        rng: chooses.
        kinds: of ``MOTIONS``.
        usual: the way without a course.
        other_side: ground line of the opposite pavement, a share of the frame's height.
        waits: it is the bus that waits in the picture.
    """
    if waits:
        return _with_stops(usual, [(float(rng.uniform(0.35, 0.65)), float(rng.uniform(4, 8)))])
    # Every number is drawn whatever the kinds are, so that one more kind changes only who has it.
    chances, places, waiting = rng.random(len(MOTIONS)), rng.uniform(0.2, 0.8, 3), rng.uniform(1.0, 4.0, 2)
    pick: dict[str, Callable[[], Course]] = {
        "turn": lambda: _turning(usual, float(places[0])),
        "cross": lambda: _crossing_over(usual, float(places[0]), other_side),
        "enter": lambda: _at_a_door(usual, float(places[0]), leaves=bool(places[1] > 0.5)),
        "stop": lambda: _with_stops(usual, sorted(zip(places[1:].tolist(), waiting.tolist(), strict=True))),
    }
    likely = {"turn": 0.25, "cross": 0.45, "enter": 0.4, "stop": 0.6}
    for kind, make in pick.items():
        allowed = kind in kinds and (usual.pedestrian or kind not in ("cross", "enter"))
        if allowed and chances[MOTIONS.index(kind)] < likely[kind]:
            return make()
    return None


def _with_stops(usual: Crossing, stops: list[tuple[float, float]]) -> Course:
    legs, x = [], usual.start
    for share, wait in stops:
        to = usual.start + share * (usual.end - usual.start)
        legs += [Leg(abs(to - x) / usual.speed, to, usual.ground), Leg(wait, to, usual.ground)]
        x = to
    legs.append(Leg(abs(usual.end - x) / usual.speed, usual.end, usual.ground))
    return Course(usual.start, usual.ground, _facing(usual), legs)


def _turning(usual: Crossing, share: float) -> Course:
    to = usual.start + share * (usual.end - usual.start)
    seconds = abs(to - usual.start) / usual.speed
    legs = [Leg(seconds, to, usual.ground), Leg(seconds, usual.start, usual.ground)]
    return Course(usual.start, usual.ground, _facing(usual), legs)


def _crossing_over(usual: Crossing, share: float, other_side: float) -> Course:
    before = usual.start + share * (usual.end - usual.start)
    after = before + _facing(usual) * 0.12 * usual.width
    legs = [
        Leg(abs(before - usual.start) / usual.speed, before, usual.ground),
        Leg(0.24 * usual.width / usual.speed, after, other_side),
    ]
    if (usual.end - after) * _facing(usual) > 0:
        legs.append(Leg(abs(usual.end - after) / usual.speed, usual.end, other_side))
    return Course(usual.start, usual.ground, _facing(usual), legs)


def _at_a_door(usual: Crossing, share: float, *, leaves: bool) -> Course:
    door = usual.start + share * (usual.end - usual.start)
    start, end = (usual.start, door) if leaves else (door, usual.end)
    return Course(start, usual.ground, _facing(usual), [Leg(abs(end - start) / usual.speed, end, usual.ground)])


def _facing(usual: Crossing) -> int:
    return 1 if usual.end > usual.start else -1
