"""Courses: road users that stop, turn back, cross the roadway, use doors, or hide behind a bus."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import pytest

from app.errors import SettingsError
from app.simulation.course import Course, Leg
from app.simulation.spec import MOTIONS, StreetSpec
from app.simulation.sprites import LABELS
from app.simulation.street import Street

FPS = 5.0
SMALL = {"width": 320, "height": 180, "fps": FPS}
Way = list[tuple[int, float, float]]


def ways(motion: tuple[str, ...], seed: int, frames: int = 150, objects: int = 8) -> Mapping[tuple[int, str], Way]:
    """Return of each road user (frame, centre, ground line) where its box is not cut by the frame."""
    street = Street(StreetSpec(seed=seed, objects=objects, motion=motion, **SMALL))
    found: dict[tuple[int, str], Way] = defaultdict(list)
    for index in range(frames):
        truth = street.truth(index)
        for box, identity, class_id in zip(truth.boxes, truth.identities, truth.class_ids, strict=True):
            if box[0] > 0 and box[2] < 320 and box[3] < 180:
                found[int(identity), LABELS[class_id]].append((index, float(box[0] + box[2]) / 2, float(box[3])))
    return found


def waits(way: Way) -> bool:
    """Return whether it stays within two pixels for a second while it is in the picture."""
    return any(
        abs(after[1] - before[1]) <= 2 and after[0] - before[0] == FPS
        for before, after in itertools.pairwise(way[:: int(FPS)])
    )


def test_without_motion_nobody_waits_or_turns():
    for way in ways((), seed=4).values():
        assert not waits(way)
        steps = np.diff([x for _, x, _ in way][:: int(FPS)])
        assert (steps > 0).all() or (steps < 0).all()


def test_with_stop_some_wait_and_go_on():
    moving = [way for way in ways(("stop",), seed=4).values() if len(way) > 20]
    assert any(waits(way) and abs(way[-1][1] - way[0][1]) > 100 for way in moving)


def test_with_turn_some_leave_where_they_came_from():
    found = ways(("turn",), seed=4).values()
    assert any(
        len(way) > 10 and max(abs(x - way[0][1]) for _, x, _ in way) > 60 + abs(way[-1][1] - way[0][1]) for way in found
    )


def test_with_cross_pedestrians_and_they_alone_change_the_side_and_their_size():
    climbs = {who: np.ptp([y for *_, y in way]) for who, way in ways(("cross",), seed=4).items()}
    assert {label for (_, label), climb in climbs.items() if climb > 60} == {"person"}


def test_with_enter_pedestrians_begin_or_end_within_the_picture():
    def at_doors(motion: tuple[str, ...]) -> int:
        people = [way for (_, label), way in ways(motion, seed=4).items() if label == "person"]
        ends = [way[-1] for way in people if way[-1][0] < 145] + [way[0] for way in people if way[0][0] > 4]
        return sum(40 < x < 280 for _, x, _ in ends)

    assert at_doors(()) == 0
    assert at_doors(("enter",)) > 0


def test_with_bus_a_bus_waits_and_hides_who_is_behind_it():
    found = ways(("bus",), seed=4, frames=250)
    assert any(waits(way) for (_, label), way in found.items() if label == "bus")
    street = Street(StreetSpec(seed=4, objects=12, motion=("bus",), **SMALL))
    assert min(street.truth(index).visible.min() for index in range(0, 250, 5)) < 0.1


@pytest.mark.parametrize("motion", [(), MOTIONS], ids=["usual", "every motion"])
def test_the_truth_without_the_picture_is_the_truth(motion: tuple[str, ...]):
    street = Street(StreetSpec(seed=5, objects=10, motion=motion, **SMALL))
    for index in (0, 40, 90):
        alone, drawn = street.truth(index), street.frame(index).truth
        assert np.array_equal(alone.boxes, drawn.boxes)
        assert np.array_equal(alone.identities, drawn.identities)
        assert np.array_equal(alone.visible, drawn.visible)


def test_a_frame_is_the_same_whatever_was_drawn_before():
    spec = StreetSpec(seed=5, objects=10, motion=MOTIONS, **SMALL)
    used = Street(spec)
    used.frame(200)
    assert np.array_equal(used.frame(77).image, Street(spec).frame(77).image)


def test_who_has_no_course_moves_as_without_motion():
    usual, other = ways((), seed=6, frames=40), ways(("turn",), seed=6, frames=40)
    assert any(usual[who] == other[who] for who in usual if who in other)


def test_changes_of_speed_are_eased():
    course = Course(0, 0.5, 1, [Leg(2, 200, 0.5), Leg(2, 200, 0.5), Leg(2, 400, 0.5)])
    places = np.array([course.at(second).x for second in np.arange(0, 6, 0.1)])
    assert np.abs(np.diff(places, 2)).max() < 3  # pixels a step of 0.1 s, that moves 10 pixels at full speed
    assert course.at(3).x == pytest.approx(200)
    assert course.at(9).x == 400


def test_an_address_names_motions():
    assert StreetSpec.parse("synthetic://street?motion=stop+bus").motion == ("stop", "bus")
    assert StreetSpec.parse("synthetic://street?motion=").motion == ()


def test_an_unknown_motion_is_one_line():
    with pytest.raises(SettingsError, match=r"motion='fly' is not known; allowed are stop\+turn\+cross\+enter\+bus"):
        StreetSpec.parse("synthetic://street?motion=stop+fly")
