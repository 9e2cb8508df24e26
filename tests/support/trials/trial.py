"""Trial: a scripted street with its rules, and which of their incidents are true.

40 incidents are in 15 streets, 8 for each of five seeds; of 20 more streets nothing is to be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.simulation.incidents import Incident, ground_points, stage
from app.simulation.spec import StreetSpec

WIDTH, HEIGHT = 640, 360
FPS = 5.0
SEEDS = (901, 902, 903, 904, 905)
"""Of the incidents; the near misses take all but the last."""
LIMIT_KMH = 17


@dataclass(frozen=True)
class Trial:
    """One street, some seconds of it, and its rules by their ids."""

    name: str
    spec: StreetSpec
    seconds: float
    rules: Mapping[str, Mapping[str, Any]]
    expected: Mapping[str, Incident]
    """By the id of the rule that should tell it, once."""
    nearly: Mapping[str, Any] = field(default_factory=dict)
    """Of a near miss: fields with which each of its rules would tell an incident; none: that would take more."""
    cut: tuple[float, float] = (0.0, 0.0)
    """From when to when, in seconds of the scene, the camera sends nothing."""

    def frames(self) -> Iterator[int]:
        """Yield the numbers of the frames that the camera sends."""
        for index in range(round(self.seconds * self.spec.fps)):
            if not self.cut[0] < index / self.spec.fps < self.cut[1]:
                yield index


def incident_trials(fps: float = FPS, seeds: Sequence[int] = SEEDS) -> list[Trial]:
    """Return the streets with incidents, 8 of them for each seed."""
    found = []
    for seed in seeds:
        found += [_traffic(seed, fps), _pavement(seed, fps), _bus_stop(seed, fps)]
    return found


def near_misses(fps: float = FPS, seeds: Sequence[int] = SEEDS) -> list[Trial]:
    """Return the streets in which something nearly happened."""
    found = []
    for seed in seeds[:-1] or seeds:
        found += [
            _nineteen_of_twenty(seed, fps),
            _wobbling(seed, fps),
            _touching(seed, fps),
            _parked_from_the_start(seed, fps),
            _cut_within_the_zone(seed, fps),
        ]
    return found


def _traffic(seed: int, fps: float) -> Trial:
    spec = _spec(seed, fps, "stop:at=8:for=14,wrong_way:at=30,speed:at=40:kmh=20", objects=2)
    stopped, wrong_way, speed = stage(spec)[1]
    points, metres = ground_points(spec.width / spec.height)
    rules = {
        "stopped": {"type": "stopped", "dwell": 10, "zone": stopped.zone},
        "wrong-way": {"type": "wrong_way", "direction": [[0.1, 0.8], [0.9, 0.8]], "zone": wrong_way.zone},
        "against-line": {"type": "line_crossing", "line": [[0.5, 0.9], [0.5, 0.68]], "direction": "right_to_left"},
        "speed": {
            "type": "speed",
            "limit": LIMIT_KMH,
            "ground": {"points": points, "metres": metres},
            "zone": speed.zone,
        },
    }
    expected = {"stopped": stopped, "wrong-way": wrong_way, "against-line": wrong_way, "speed": speed}
    return Trial(f"traffic {seed}", spec, 46, rules, expected)


def _pavement(seed: int, fps: float) -> Trial:
    spec = _spec(seed, fps, "loiter:at=6:for=25,crowd:at=48:for=9,abandon:at=78:for=26")
    loitering, crowd, abandoned = stage(spec)[1]
    rules = {
        "loitering": {"type": "loitering", "dwell": 20, "zone": loitering.zone, "classes": ["person"]},
        "crowd": {"type": "crowd", "count": 5, "zone": crowd.zone, "classes": ["person"]},
        "abandoned": {"type": "abandoned", "dwell": 15, "zone": abandoned.zone, "classes": ["suitcase"]},
    }
    return Trial(
        f"pavement {seed}",
        spec,
        108,
        rules,
        {"loitering": loitering, "crowd": crowd, "abandoned": abandoned},
    )


def _bus_stop(seed: int, fps: float) -> Trial:
    spec = _spec(seed, fps, "stop:at=8:for=5:x=0.5")
    (stopped,) = stage(spec)[1]
    zone = [[0.4, 0.7], [0.6, 0.7], [0.6, 0.88], [0.4, 0.88]]
    return Trial(
        f"bus stop {seed}", spec, 20, {"intrusion": {"type": "intrusion", "zone": zone}}, {"intrusion": stopped}
    )


def _nineteen_of_twenty(seed: int, fps: float) -> Trial:
    spec = _spec(seed, fps, "stop:at=8:for=19", objects=2)
    (stopped,) = stage(spec)[1]
    rules = {"stopped": {"type": "stopped", "dwell": 20, "zone": stopped.zone}}
    return Trial(f"19 s of 20 {seed}", spec, 34, rules, {}, {"dwell": 18})


def _wobbling(seed: int, fps: float) -> Trial:
    spec = _spec(seed, fps, "wobble:at=6:for=50:x=0.5")
    rules = {"line": {"type": "line_crossing", "line": [[0.5, 1], [0.5, 0.85]]}}
    return Trial(f"wobbling {seed}", spec, 64, rules, {})


def _touching(seed: int, fps: float) -> Trial:
    spec = _spec(seed, fps, "loiter:at=6:for=0.5")
    (touched,) = stage(spec)[1]
    return Trial(
        f"touching {seed}", spec, 14, {"intrusion": {**_intrusion(touched), "start_after": 1}}, {}, {"start_after": 0.1}
    )


def _parked_from_the_start(seed: int, fps: float) -> Trial:
    spec = _spec(seed, fps, "stop:at=0:for=40", objects=2)
    (parked,) = stage(spec)[1]
    rules = {"stopped": {"type": "stopped", "dwell": 20, "zone": parked.zone}}
    return Trial(f"parked {seed}", spec, 38, rules, {}, {"include_parked": True})


def _cut_within_the_zone(seed: int, fps: float) -> Trial:
    spec = _spec(seed, fps, "loiter:at=6:for=27")
    (loitering,) = stage(spec)[1]
    rules = {"loitering": {"type": "loitering", "dwell": 20, "zone": loitering.zone}}
    return Trial(f"cut {seed}", spec, 40, rules, {}, {"dwell": 8}, cut=(12, 22))


def _intrusion(incident: Incident) -> dict[str, Any]:
    return {"type": "intrusion", "zone": incident.zone, "classes": ["person"]}


def _spec(seed: int, fps: float, script: str, objects: int = 0) -> StreetSpec:
    """Return a street; ``objects`` besides the scripted ones, of which some are on the near lane too."""
    return StreetSpec.parse(
        f"synthetic://street?seed={seed}&fps={fps:g}&width={WIDTH}&height={HEIGHT}&objects={objects}&script={script}"
    )
