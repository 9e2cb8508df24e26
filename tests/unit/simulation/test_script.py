"""Scripts: what happens in a street at which time, and its truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import pytest

from app.errors import SettingsError
from app.simulation.incidents import Incident
from app.simulation.script import KEYS, ScriptedEvent, parse_script
from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS, THINGS
from app.simulation.street import Street

FPS = 5
WIDTH, HEIGHT = 320, 180
EVERYTHING = (
    "stop:at=1:for=2,wrong_way:at=1,loiter:at=2:for=4,crowd:at=3:for=1,abandon:at=2:for=3,speed:at=1,wobble:at=1"
)


def street(script: str, seed: int = 5, objects: int = 0) -> Street:
    address = f"synthetic://street?seed={seed}&fps={FPS}&width={WIDTH}&height={HEIGHT}&objects={objects}"
    return Street(StreetSpec.parse(f"{address}&script={script}" if script else address))


def feet(drawn: Street, seconds: float) -> Mapping[int, dict[float, tuple[float, float]]]:
    """Return by identity and second: x of the centre and y of the feet, 0…1 of the frame, of who is wholly in it."""
    found: dict[int, dict[float, tuple[float, float]]] = defaultdict(dict)
    for index in range(round(seconds * FPS)):
        truth = drawn.truth(index)
        for (x1, _, x2, y2), identity in zip(truth.boxes.tolist(), truth.identities.tolist(), strict=True):
            if x1 > 0 and x2 < WIDTH:
                found[identity][index / FPS] = ((x1 + x2) / 2 / WIDTH, y2 / HEIGHT)
    return found


def one_incident(script: str) -> tuple[Street, Incident]:
    drawn = street(script)
    (incident,) = drawn.incidents
    return drawn, incident


def test_a_script_is_read_from_the_address():
    spec = StreetSpec.parse("synthetic://street?script=stop:at=20:for=15,speed:at=40:kmh=30")
    assert spec.script == (
        ScriptedEvent("stop", 20, (("for", 15.0),)),
        ScriptedEvent("speed", 40, (("kmh", 30.0),)),
    )
    assert StreetSpec.parse("synthetic://street?script=stop:at=1%2Cspeed:at=2").script == parse_script(
        "stop:at=1,speed:at=2"
    )
    assert StreetSpec.parse("synthetic://street?script=").script == ()


@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("fly:at=3", "'fly' is not known; allowed are stop, wrong_way, loiter, crowd, abandon, speed, wobble"),
        ("stop", "stop: 'at' is missing"),
        ("stop:at", "stop: 'at' is not a key=value; keys are at, for, x, each once"),
        ("stop:at=1:kmh=30", "stop: 'kmh=30' is not a key=value"),
        ("stop:at=1:at=2", "stop: 'at=2' is not a key=value"),
        ("stop:at=soon", "stop: at='soon'; allowed is 0 to 86400"),
        ("stop:at=nan", "stop: at='nan'; allowed is 0 to 86400"),
        ("loiter:at=1:for=0", "loiter: for='0'; allowed is 0.1 to 3600"),
        ("crowd:at=1:count=2.5", "crowd: count='2.5'; allowed is a whole number, 2 to 8"),
        (",".join(["speed:at=1"] * 21), "has 21 events; allowed are 20"),
    ],
)
def test_a_mistake_is_one_line(script: str, part: str):
    with pytest.raises(SettingsError) as caught:
        StreetSpec.parse(f"synthetic://street?script={script}")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_seed_plays_the_same_script_and_another_one_another():
    frames = [street(EVERYTHING, seed=seed).frame(20) for seed in (5, 5, 6)]
    assert np.array_equal(frames[0].image, frames[1].image)
    assert np.array_equal(frames[0].truth.boxes, frames[1].truth.boxes)
    assert not np.array_equal(frames[0].image, frames[2].image)
    assert street(EVERYTHING).incidents == street(EVERYTHING).incidents


def test_before_a_script_begins_the_picture_is_the_one_without_it():
    plain, scripted = street("", objects=4), street("stop:at=60,crowd:at=60,abandon:at=60", objects=4)
    for index in (0, 50, 150):
        assert np.array_equal(plain.frame(index).image, scripted.frame(index).image)


def test_the_other_road_users_are_where_they_are_without_it():
    plain, scripted = feet(street("", objects=4), 12), feet(street(EVERYTHING, objects=4), 12)
    assert plain
    assert {who: scripted[who] for who in plain} == plain


def test_every_kind_of_event_can_be_played_and_tells_its_incident():
    assert {part.split(":")[0] for part in EVERYTHING.split(",")} == set(KEYS)
    types = [incident.type for incident in street(EVERYTHING).incidents]
    assert types == ["stopped", "wrong_way", "loitering", "crowd", "abandoned", "speed"]


def test_a_car_stands_for_as_long_as_the_script_says():
    drawn, incident = one_incident("stop:at=6:for=8:x=0.5")
    way = feet(drawn, 22)[incident.identities[0]]
    assert (incident.type, incident.start, incident.end) == ("stopped", 6, 14)
    standing = [x for second, (x, _) in way.items() if 6.4 < second < 13.6]
    assert max(standing) - min(standing) < 0.02
    assert abs(np.mean(standing) - 0.5) < 0.01
    assert min(way) < 6
    assert way[15][0] > 0.6


def test_a_car_of_second_0_stands_in_the_first_picture():
    drawn, incident = one_incident("stop:at=0:for=5:x=0.4")
    assert abs(feet(drawn, 1)[incident.identities[0]][0][0] - 0.4) < 0.06


def test_who_drives_the_wrong_way_moves_to_the_left_on_the_near_lane():
    drawn, incident = one_incident("wrong_way:at=1")
    way = feet(drawn, 10)[incident.identities[0]]
    assert (np.diff([x for x, _ in way.values()]) < 0).all()
    assert all(0.7 < y < 0.88 for _, y in way.values())
    assert incident.start == 1 < min(way)
    assert max(way) < incident.end


def test_a_fast_car_has_the_speed_of_the_script():
    drawn, incident = one_incident("speed:at=1:kmh=20")
    way = feet(drawn, 8)[incident.identities[0]]
    (first, (x1, _)), (last, (x2, _)) = min(way.items()), max(way.items())
    metres = (x2 - x1) * WIDTH / HEIGHT * 7 / 0.95
    assert metres / (last - first) * 3.6 == pytest.approx(20, rel=0.05)


def test_who_loiters_is_in_the_zone_from_start_to_end_and_not_before_or_after():
    drawn, incident = one_incident("loiter:at=5:for=12:x=0.5")
    way = feet(drawn, 22)[incident.identities[0]]
    left, right = incident.zone[0][0], incident.zone[1][0]
    inside = [second for second, (x, y) in way.items() if left <= x <= right and incident.zone[0][1] <= y <= 1]
    assert min(inside) == pytest.approx(5, abs=0.5)
    assert max(inside) == pytest.approx(17, abs=0.5)
    assert len(inside) >= 12 * FPS - 3
    assert np.ptp([way[second][0] for second in inside]) > 0.1  # it walks


def test_a_crowd_is_together_from_start_to_end():
    drawn, incident = one_incident("crowd:at=8:for=5:count=4:x=0.5")
    ways = feet(drawn, 14)
    left, right = incident.zone[0][0], incident.zone[1][0]
    assert len(incident.identities) == 4
    for second in (8.4, 10, 12.6):
        assert all(left <= ways[who][second][0] <= right for who in incident.identities)


def test_a_suitcase_stays_where_its_owner_leaves_it():
    drawn, incident = one_incident("abandon:at=5:for=6:x=0.5")
    ways = feet(drawn, 13)
    thing = incident.identities[0]
    assert (LABELS + THINGS)[int(drawn.truth(30).class_ids[drawn.truth(30).identities == thing][0])] == "suitcase"
    assert (min(ways[thing]), max(ways[thing])) == (5, 10.8)
    (owner,) = set(ways) - {thing}
    apart = {second: abs(ways[owner][second][0] - x) for second, (x, _) in ways[thing].items() if second in ways[owner]}
    assert apart[5] < 0.06
    assert apart[9] > 0.2


def test_a_wobble_crosses_its_line_once_a_second_and_is_no_incident():
    drawn = street("wobble:at=4:for=20:x=0.5")
    assert drawn.incidents == ()
    ((_, way),) = feet(drawn, 26).items()
    sides = np.sign([x - 0.5 for second, (x, _) in way.items() if 4 < second < 24])
    assert 15 <= np.count_nonzero(np.diff(sides[sides != 0])) <= 25
    assert max(abs(x - 0.5) for second, (x, _) in way.items() if 5 < second < 23) < 0.016
