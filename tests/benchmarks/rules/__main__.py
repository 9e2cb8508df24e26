"""What the rules tell of 40 scripted incidents and 20 near misses: ``python -m tests.benchmarks.rules``.

    python -m tests.benchmarks.rules [truth] [jittered] [detector] [--first 901] [--seeds 5] [--verbose]

``truth``: the true boxes and identities. ``jittered``: true boxes jittered by 2 %, 5 % of them missed and 30 % of the
frames dropped, with the ids of our own tracker. ``detector``: what the bundled model finds in the pictures, with the
ids of our own tracker; it knows no suitcase, so 5 of the 40 are out of its reach.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping

from tests.support.trials.trial import SEEDS, Trial, incident_trials, near_misses
from tests.support.trials.verdict import Sight, jittered_sights, judge, true_sights


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", default=["truth", "jittered"], help="; ".join(_SIGHTS))
    parser.add_argument("--first", type=int, default=SEEDS[0], help="the first seed of the streets")
    parser.add_argument(
        "--seeds", type=int, default=len(SEEDS), help="8 incidents each; near misses have one seed less"
    )
    parser.add_argument("--verbose", action="store_true", help="print what was missed and what was false")
    given = parser.parse_args()
    for source in given.sources:
        told = expected = false = 0
        seeds = range(given.first, given.first + given.seeds)
        trials = [*incident_trials(seeds=seeds), *near_misses(seeds=seeds)]
        for trial in trials:
            verdict = judge(trial, _SIGHTS[source](trial), tracked=source != "truth")
            told += len(verdict.found)
            expected += len(trial.expected)
            false += len(verdict.false)
            if given.verbose and (verdict.missed or verdict.false):
                print(f"  {trial.name}: missed {verdict.missed}, false {[one.rule for one in verdict.false]}")
        print(f"{source}: {told} of {expected} incidents, {false} false, {len(trials)} streets")
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def _detected(trial: Trial) -> list[Sight]:
    from tests.benchmarks.rules.detected import detected_sights

    return detected_sights(trial)


_SIGHTS: Mapping[str, Callable[[Trial], list[Sight]]] = {
    "truth": true_sights,
    "jittered": jittered_sights,
    "detector": _detected,
}


if __name__ == "__main__":
    raise SystemExit(main())
