"""Verdict: which of a trial's incidents the rules told, and what they told besides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.analysis.rules.anomaly import Anomaly
from app.analysis.rules.engine import apply_rules, make_camera_rules
from app.analysis.rules.example import START_MS
from app.analysis.rules.frame import Frame, SeenObject
from app.analysis.rules.state import RulesState
from app.analysis.tracking.frame import NO_TRACK, ObservedFrame
from app.analysis.tracking.state import CameraTracks
from app.analysis.tracking.tracker import track
from app.settings.rule_lists import parse_rules
from app.settings.tracking import TrackingSettings
from app.simulation.sprites import LABELS, THINGS
from app.simulation.street import Street
from tests.support.observed import observed_boxes
from tests.support.trials.trial import Trial

NAMES = LABELS + THINGS
JITTER = 0.02
"""Standard deviation of a box's place and size, as a share of its sides."""
MISSED = 0.05
DROPPED = 0.3
SHOWN = 0.25
"""Score from which a box is in the event."""
_SOONER_S, _LATER_S = 2.0, 1.0
"""So much before its truth an incident may begin (it counts from the zone's border), and so much after its end."""


@dataclass(frozen=True, eq=False)
class Sight:
    """The boxes of one frame, and whose they are."""

    seconds: float
    boxes: NDArray[np.float64]
    """(N, 4) x1 y1 x2 y2 in pixels."""
    scores: NDArray[np.float64]
    """(N,)."""
    class_ids: NDArray[np.int64]
    """(N,) index into ``NAMES``."""
    identities: NDArray[np.int64]
    """(N,) of the road users; 0: nobody's."""


@dataclass(frozen=True)
class Verdict:
    """What came of one trial."""

    found: tuple[str, ...]
    missed: tuple[str, ...]
    """Rules by their ids."""
    false: tuple[Anomaly, ...]
    """Incidents that are not true, or told twice."""


def true_sights(trial: Trial) -> list[Sight]:
    """Return the true boxes of a trial."""
    street = Street(trial.spec)
    sights = []
    for index in trial.frames():
        truth = street.truth(index)
        count = len(truth.boxes)
        sights.append(
            Sight(
                index / trial.spec.fps,
                truth.boxes.astype(np.float64),
                np.full(count, 0.9),
                truth.class_ids,
                truth.identities,
            )
        )
    return sights


def jittered_sights(trial: Trial) -> list[Sight]:
    """Return the true boxes jittered, hidden ones as well; some are missed, and some frames dropped."""
    rng = np.random.default_rng((trial.spec.seed, len(trial.name), 5))
    street = Street(trial.spec)
    sights = []
    for index in trial.frames():
        if rng.random() < DROPPED:
            continue
        truth = street.truth(index)
        kept = rng.random(len(truth.boxes)) >= MISSED
        boxes = truth.boxes[kept].astype(np.float64)
        moved = rng.normal(0, JITTER, (2, *boxes[:, :2].shape))
        size = boxes[:, 2:] - boxes[:, :2]
        corner, size = boxes[:, :2] + moved[0] * size, size * (1 + moved[1])
        sights.append(
            Sight(
                index / trial.spec.fps,
                np.concatenate([corner, corner + size], axis=1),
                rng.uniform(0.55, 0.95, len(boxes)),
                truth.class_ids[kept],
                truth.identities[kept],
            )
        )
    return sights


def judge(trial: Trial, sights: Iterable[Sight], *, tracked: bool) -> Verdict:
    """Return what a trial's rules tell of its boxes; the ids are the true identities, or those of our own tracker."""
    rules = make_camera_rules(parse_rules([{"id": name, **rule} for name, rule in trial.rules.items()]), "cam")
    state, tracks, whose = RulesState(), CameraTracks(), dict[int, int]()
    told: list[Anomaly] = []
    for sight in sights:
        ids = sight.identities
        if tracked:
            moment = START_MS * 10**6 + round(sight.seconds * 1e9)
            observed = ObservedFrame(moment, observed_boxes(sight.boxes, sight.scores, sight.class_ids))
            tracks, answer = track(tracks, observed, TrackingSettings())
            ids = np.array(answer.ids, np.int64)
        for one, identity in zip(ids.tolist(), sight.identities.tolist(), strict=True):
            if one != NO_TRACK and identity:
                whose.setdefault(one, identity)
        state, judgement = apply_rules(state, _frame(trial, sight, ids), rules)
        told += judgement.transitions
    return _verdict(trial, [one for one in told if one.state in ("new", "instant")], whose)


def _frame(trial: Trial, sight: Sight, ids: NDArray[np.int64]) -> Frame:
    objects = []
    for index in np.flatnonzero(sight.scores >= SHOWN).tolist():
        x1, y1, x2, y2 = (float(side) for side in sight.boxes[index])
        box = (round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2))
        label = NAMES[int(sight.class_ids[index])]
        objects.append(SeenObject(label, round(float(sight.scores[index]), 4), box, int(ids[index]) or None))
    moment = START_MS + round(sight.seconds * 1000)
    return Frame("cam", moment, trial.spec.width, trial.spec.height, tuple(objects))


def _verdict(trial: Trial, told: Iterable[Anomaly], whose: Mapping[int, int]) -> Verdict:
    found: set[str] = set()
    false = []
    for one in told:
        incident = trial.expected.get(one.rule)
        began = (one.started_ms - START_MS) / 1000
        if (
            incident is not None
            and one.rule not in found
            and incident.start - _SOONER_S <= began <= incident.end + _LATER_S
            and {whose.get(track_id) for track_id in one.track_ids} & set(incident.identities)
        ):
            found.add(one.rule)
        else:
            false.append(one)
    return Verdict(tuple(sorted(found)), tuple(sorted(set(trial.expected) - found)), tuple(false))
