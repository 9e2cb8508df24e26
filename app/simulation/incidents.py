"""Incident: what a script lets happen, as a rule should report it; and the road users that play it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.simulation.course import Course, Leg
from app.simulation.script import ScriptedEvent
from app.simulation.spec import StreetSpec
from app.simulation.traffic import CAR, LANES, PERSON, SUITCASE, RoadUser, choose_look, entry_of

Point = tuple[float, float]
NEAR_LANE = 2
NEAR_PAVEMENT = 3
LANE_ZONE: tuple[Point, ...] = ((0.0, 0.7), (1.0, 0.7), (1.0, 0.88), (0.0, 0.88))
"""Where vehicles of the near lane stand, 0…1 of the frame."""
METRES_OF_HEIGHT = 7.0
"""Metres that a frame's height is for someone of scale 1: a person of a quarter of it is 1.75 m tall."""
_IDENTITIES = 9_000_000
"""Scripted road users have identities from here on: a hundred for each event."""
_WALK = 0.09
"""Widths of the frame a second, at scale 1."""
_DRIVE = 0.25
_HALF_ZONE = 0.12
"""Half the width of a zone for pedestrians, in widths of the frame."""
_SWAY = 0.008
"""How far a wobble goes to either side of its line: much less than the band that ``line_crossing`` keeps."""
_SWAY_S = 1.0
_APART = 0.06
"""Between two people of a crowd."""


@dataclass(frozen=True)
class Incident:
    """The truth of one incident."""

    type: str
    """As in rules: ``stopped``, ``wrong_way``, ``loitering``, ``crowd``, ``abandoned``, ``speed``."""
    start: float
    """Seconds of the scene from which it is so; of what drives through: when it comes into the frame."""
    end: float
    identities: tuple[int, ...]
    """Of the road users, or the thing, that it is about."""
    zone: tuple[Point, ...]
    """Where it happens: corners, 0…1 of the frame."""


def ground_points(aspect: float) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Return four points of the picture and where they are on the ground in metres, as a rule for speed has them.

    Args:
        aspect: width by height of the frame.
    """
    far, near = LANES[0], LANES[NEAR_PAVEMENT]
    half_far, half_near = (0.25 * aspect * METRES_OF_HEIGHT / lane.scale for lane in (far, near))
    picture = ((0.25, far.ground), (0.75, far.ground), (0.75, near.ground), (0.25, near.ground))
    return picture, ((-half_far, 20.0), (half_far, 20.0), (half_near, 0.0), (-half_near, 0.0))


def stage(spec: StreetSpec) -> tuple[list[RoadUser], tuple[Incident, ...]]:
    """Return the road users of a street's script, and its incidents; a wobble is none."""
    users: list[RoadUser] = []
    incidents = []
    for number, event in enumerate(spec.script):
        cast, incident = _PLAY[event.kind](_Stage(spec, number, event))
        users += cast
        if incident is not None:
            incidents.append(incident)
    return users, tuple(incidents)


_Played = tuple[list[RoadUser], Incident | None]


class _Stage:
    """Makes the road users of one event; the seed chooses their looks, and where nothing else says it, their place."""

    def __init__(self, spec: StreetSpec, number: int, event: ScriptedEvent) -> None:
        self.event = event
        self.width, self.height = spec.width, spec.height
        self._identity = _IDENTITIES + 100 * number
        self._rng = np.random.default_rng((spec.seed, 4, number))
        place, side = float(self._rng.uniform(0.35, 0.65)), int(self._rng.choice((-1, 1)))
        given = event.get("x")
        self.x = self.width * (place if given is None else given)
        """Where it happens, in pixels."""
        self.side = side
        """From where a pedestrian comes: -1 walks to the left."""

    def make(
        self,
        class_id: int,
        lane: int,
        direction: int,
        arrives_at: float,
        course: Callable[[float, float], Sequence[Leg]],
        x: float | None = None,
    ) -> RoadUser:
        """Return a road user whose first leg ends at ``arrives_at``; ``course`` has entry and ground, and returns legs.

        It comes from outside of the frame, unless ``x`` says where it begins.
        """
        self._identity += 1
        plan = replace(LANES[lane], classes=(class_id,), weights=(1.0,))
        look = choose_look(self._rng, plan, self.height)
        entry = entry_of(look, self.width, direction) if x is None else x
        legs = list(course(entry, plan.ground))
        begins = arrives_at - legs[0].seconds
        ends = begins + sum(leg.seconds for leg in legs)
        way = Course(entry, plan.ground, direction, legs)
        return RoadUser(self._identity, begins, ends, lane, direction, 0.0, look, 0, way)

    def walk(self, from_x: float, to_x: float, ground: float) -> Leg:
        """Return a leg at a pedestrian's speed."""
        return Leg(abs(to_x - from_x) / (_WALK * LANES[NEAR_PAVEMENT].scale * self.width), to_x, ground)

    def drive(self, from_x: float, to_x: float, ground: float, speed: float | None = None) -> Leg:
        """Return a leg at a car's speed, or another one in pixels a second."""
        return Leg(abs(to_x - from_x) / (speed or _DRIVE * LANES[NEAR_LANE].scale * self.width), to_x, ground)

    def pavement(self, half: float = _HALF_ZONE) -> tuple[Point, ...]:
        """Return a zone on the near pavement around the place, ``half`` widths to either side."""
        left, right = (round(self.x / self.width + offset, 4) for offset in (-half, half))
        return ((left, 0.89), (right, 0.89), (right, 1.0), (left, 1.0))


def _stop(stage: _Stage) -> _Played:
    event = stage.event

    def course(entry: float, ground: float) -> list[Leg]:
        leave = stage.width - entry
        return [
            stage.drive(entry, stage.x, ground),
            Leg(event.seconds, stage.x, ground),
            stage.drive(stage.x, leave, ground),
        ]

    car = stage.make(CAR, NEAR_LANE, 1, event.at, course)
    return [car], Incident("stopped", event.at, event.at + event.seconds, (car.identity,), LANE_ZONE)


def _through(stage: _Stage, direction: int, speed: float | None) -> RoadUser:
    def course(entry: float, ground: float) -> list[Leg]:
        return [Leg(0.0, entry, ground), stage.drive(entry, stage.width - entry, ground, speed)]

    return stage.make(CAR, NEAR_LANE, direction, stage.event.at, course)


def _wrong_way(stage: _Stage) -> _Played:
    car = _through(stage, -LANES[NEAR_LANE].direction, None)
    return [car], Incident("wrong_way", car.begins, car.ends, (car.identity,), LANE_ZONE)


def _speed(stage: _Stage) -> _Played:
    metres_a_second = (stage.event.get("kmh") or 0.0) / 3.6
    speed = metres_a_second * stage.height * LANES[NEAR_LANE].scale / METRES_OF_HEIGHT
    car = _through(stage, LANES[NEAR_LANE].direction, speed)
    return [car], Incident("speed", car.begins, car.ends, (car.identity,), LANE_ZONE)


def _loiter(stage: _Stage) -> _Played:
    event, side = stage.event, stage.side
    edge = stage.x - side * _HALF_ZONE * stage.width

    def course(entry: float, ground: float) -> list[Leg]:
        inward = stage.walk(edge, stage.x, ground)
        legs = [stage.walk(entry, edge, ground)]
        if event.seconds <= 2 * inward.seconds:
            depth = edge + (stage.x - edge) * event.seconds / (2 * inward.seconds)
            legs += [Leg(event.seconds / 2, depth, ground), Leg(event.seconds / 2, edge, ground)]
        else:
            pace = Leg(inward.seconds / 2, stage.x + side * _HALF_ZONE * stage.width / 2, ground)
            rest = event.seconds - 2 * inward.seconds
            turns, still = divmod(rest, 2 * pace.seconds)
            legs.append(inward)
            legs += [pace, Leg(pace.seconds, stage.x, ground)] * int(turns)
            legs += [Leg(still, stage.x, ground), Leg(inward.seconds, edge, ground)]
        return [*legs, stage.walk(edge, entry, ground)]

    person = stage.make(PERSON, NEAR_PAVEMENT, side, event.at, course)
    return [person], Incident("loitering", event.at, event.at + event.seconds, (person.identity,), stage.pavement())


def _crowd(stage: _Stage) -> _Played:
    event = stage.event
    count = int(event.get("count") or 0)
    people = []
    for number in range(count):
        spot = stage.x + (number - (count - 1) / 2) * _APART * stage.width
        sooner = 0.4 * number

        def course(entry: float, ground: float, spot: float = spot, sooner: float = sooner) -> list[Leg]:
            return [
                stage.walk(entry, spot, ground),
                Leg(event.seconds + 2 * sooner, spot, ground),
                stage.walk(spot, stage.width - entry, ground),
            ]

        direction = 1 if number % 2 else -1
        people.append(stage.make(PERSON, NEAR_PAVEMENT, direction, event.at - sooner, course))
    identities = tuple(person.identity for person in people)
    zone = stage.pavement(half=count * _APART / 2)
    return people, Incident("crowd", event.at, event.at + event.seconds, identities, zone)


def _abandon(stage: _Stage) -> _Played:
    event, side = stage.event, stage.side

    def course(entry: float, ground: float) -> list[Leg]:
        return [
            stage.walk(entry, stage.x, ground),
            Leg(1.0, stage.x, ground),
            stage.walk(stage.x, stage.width - entry, ground),
        ]

    def stay(x: float, ground: float) -> list[Leg]:
        return [Leg(0.0, x, ground), Leg(event.seconds, x, ground)]

    owner = stage.make(PERSON, NEAR_PAVEMENT, side, event.at, course)
    beside = stage.x - side * 0.05 * stage.width
    thing = stage.make(SUITCASE, NEAR_PAVEMENT, 1, event.at, stay, x=beside)
    zone = stage.pavement()
    return [owner, thing], Incident("abandoned", event.at, event.at + event.seconds, (thing.identity,), zone)


def _wobble(stage: _Stage) -> _Played:
    event = stage.event

    def course(entry: float, ground: float) -> list[Leg]:
        first = stage.x + _SWAY * stage.width
        legs = [stage.walk(entry, first, ground)]
        for number in range(int(event.seconds / _SWAY_S)):
            legs.append(Leg(_SWAY_S, stage.x + (_SWAY if number % 2 else -_SWAY) * stage.width, ground))
        return [*legs, Leg(0.0, first, ground), stage.walk(first, entry, ground)]

    return [stage.make(PERSON, NEAR_PAVEMENT, -1, event.at, course)], None


_PLAY: Mapping[str, Callable[[_Stage], _Played]] = {
    "stop": _stop,
    "wrong_way": _wrong_way,
    "loiter": _loiter,
    "crowd": _crowd,
    "abandon": _abandon,
    "speed": _speed,
    "wobble": _wobble,
}
