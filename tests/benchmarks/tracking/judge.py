"""Judge: motmetrics compares a contestant's ids with the truth."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import motmetrics
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.tracking.contestants import Run
from tests.benchmarks.tracking.sequence import Sequence

LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class Verdict:
    """The figures of several sequences together."""

    idf1: float
    """E. Ristani and others, "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016."""
    switches: int
    """How often an object was given another id."""


def judge(sequences: Many[Sequence], runs: Many[Run]) -> Verdict:
    """Return the verdict over all the sequences; each counts by its number of boxes."""
    accumulators = []
    for sequence, run in zip(sequences, runs, strict=True):
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        for step, answer in zip(sequence.steps, run.answers, strict=True):
            accumulator.update(step.identities, answer.ids, _distances(step.truth, answer.boxes))
        accumulators.append(accumulator)
    table = motmetrics.metrics.create().compute_many(
        accumulators, metrics=["idf1", "num_switches"], generate_overall=True
    )
    overall = table.loc["OVERALL"]
    return Verdict(float(overall["idf1"]), int(overall["num_switches"]))


def _distances(truth: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - intersection over union, NaN where it is too little; motmetrics' own does not run with NumPy 2."""
    low = np.maximum(truth[:, None, :2], boxes[None, :, :2])
    high = np.minimum(truth[:, None, 2:], boxes[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    areas = [(some[:, 2:] - some[:, :2]).prod(axis=1) for some in (truth, boxes)]
    overlap = common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9)
    return np.where(overlap >= LEAST_OVERLAP, 1 - overlap, np.nan)
