"""Scripted incidents and near misses in simulated streets, judged by the rules: the figures of the benchmark."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from app.analysis.rules.example import START_MS
from app.simulation.spec import StreetSpec
from app.simulation.traffic import Traffic
from tests.support.trials.trial import SEEDS, Trial, incident_trials, near_misses
from tests.support.trials.verdict import jittered_sights, judge, true_sights


def figures(trials: list[Trial], *, tracked: bool) -> tuple[int, int, int]:
    """Return how many incidents were told, how many there are, and how many were told that are none."""
    verdicts = [judge(one, (jittered_sights if tracked else true_sights)(one), tracked=tracked) for one in trials]
    return (
        sum(len(one.found) for one in verdicts),
        sum(len(one.expected) for one in trials),
        sum(len(one.false) for one in verdicts),
    )


def of_seed(trials: list[Trial], seed: int) -> list[Trial]:
    return [one for one in trials if one.spec.seed == seed]


def test_of_one_seed_every_incident_is_told_and_no_near_miss():
    trials = of_seed(incident_trials(), SEEDS[0])
    near = of_seed(near_misses(), SEEDS[0])
    assert figures([*trials, *near], tracked=False) == (8, 8, 0)


@pytest.mark.slow
def test_of_true_boxes_40_of_40_incidents_are_told_and_no_near_miss():
    trials, near = incident_trials(), near_misses()
    assert len(near) == 20
    assert figures([*trials, *near], tracked=False) == (40, 40, 0)


@pytest.mark.slow
def test_of_jittered_boxes_with_our_own_ids_at_least_38_of_40_are_told_and_at_most_1_false():
    told, expected, false = figures([*incident_trials(), *near_misses()], tracked=True)
    assert expected == 40
    assert told >= 38
    assert false <= 1


@pytest.mark.slow
def test_the_near_misses_are_near():
    for trial in near_misses():
        if not trial.nearly:
            continue
        loosened = {name: {**rule, **trial.nearly} for name, rule in trial.rules.items()}
        verdict = judge(replace(trial, rules=loosened), true_sights(trial), tracked=False)
        assert verdict.false, trial.name


@pytest.mark.slow
def test_a_wobble_is_50_times_on_the_other_side_of_its_line():
    for trial in (one for one in near_misses() if one.name.startswith("wobbling")):
        middle = trial.spec.width / 2
        sides = [np.sign(sight.boxes[0, [0, 2]].mean() - middle) for sight in true_sights(trial) if len(sight.boxes)]
        crossings = np.count_nonzero(np.diff([side for side in sides if side]))
        assert crossings >= 45, trial.name


LINE_S = 60
EDGE_S = 2
"""What crosses so soon after the first frame, or before the last, may have been seen on one side only."""


def is_counted(seconds: float) -> bool:
    return EDGE_S < seconds < LINE_S - EDGE_S


def true_crossings(spec: StreetSpec) -> Counter[str]:
    """Return how often road users cross the middle of the street by their courses, by direction, without a picture."""
    traffic = Traffic(spec)
    sides: dict[int, bool] = {}
    found: Counter[str] = Counter()
    for step in range(LINE_S * 50):
        for user, place in traffic.at(step / 50):
            right = place.x > spec.width / 2
            if sides.get(user.identity, right) is not right and is_counted(step / 50):
                found["left_to_right" if right else "right_to_left"] += 1
            sides[user.identity] = right
    return found


@pytest.mark.slow
@pytest.mark.parametrize("fps", [2.0, 5.0, 10.0, 25.0])
def test_the_count_of_a_line_in_a_street_is_the_truth_at_any_frame_rate(fps: float):
    spec = StreetSpec(seed=931, fps=fps, width=320, height=180, objects=10, motion=("stop",))
    line = {"middle": {"type": "line_crossing", "line": [[0.5, 1], [0.5, 0.3]]}}
    street = Trial("line", spec, LINE_S, line, {})
    told = Counter(
        one.direction
        for one in judge(street, true_sights(street), tracked=False).false
        if is_counted((one.started_ms - START_MS) / 1000)
    )
    assert told == true_crossings(spec)
    assert min(told.values()) >= 5
