"""Whose ids hold: Sightline's tracker beside Roboflow's ``trackers`` 2.6.1, judged by ``motmetrics``.

    pip install -e '.[bench]' -c configs/constraints.txt
    python -m tests.benchmarks.tracking [truth] [detector] [campus]

``truth``: the true boxes of held-out simulated streets, jittered, with road users at constant speed and with every
motion of the simulator. ``detector``: what the bundled model detects there, at 5 frames a second. ``campus``: the
sequence TUD-Campus, at 25, 12.5 and 5 frames a second. Of each, 0, 30 and 60 % of the frames are dropped. Printed: IDF1
of all the streets together for Sightline; the limit, of who knows every identity and gives ids by the same rules (with
the second sight; another one after 1.5 s unseen); for the best reference with timestamps and by frame count; for every
reference with timestamps; then the median processor time of an update, ours with its state stored and loaded.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.simulation.spec import MOTIONS
from tests.benchmarks.tracking.contestants import all_knowing, references, sightline
from tests.benchmarks.tracking.judge import Verdict, judge
from tests.benchmarks.tracking.sequence import Sequence, campus, detected, jittered, street

DROPPED = (0.0, 0.3, 0.6)
SOURCES = ("truth", "detector", "campus")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    fps: float
    dropped: float
    ours: Verdict
    reachable: Verdict
    timed: Mapping[str, Verdict]
    counted: Mapping[str, Verdict]
    costs: Mapping[str, float]
    """Milliseconds an update, ours and ByteTrack's."""

    def line(self) -> str:
        """Return the line."""
        cells = [f"{self.what:<24} {self.fps:>5g} {self.dropped:>5.0%}   {_cell(self.ours)}  {self.reachable.idf1:.3f}"]
        for verdicts in (self.timed, self.counted):
            name = max(verdicts, key=lambda one: verdicts[one].idf1)
            cells.append(f"{_cell(verdicts[name])} {name:<14}")
        cells.append(" ".join(f"{verdict.idf1:.3f}" for verdict in self.timed.values()))
        cells.append(" ".join(f"{name} {cost:.2f} ms" for name, cost in self.costs.items()))
        return "  ".join(cells)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", default=SOURCES, help="truth, detector, campus; all of them by default")
    parser.add_argument("--fps", type=float, nargs="+", default=[2, 5, 10, 25], help="frames a second, of truth")
    parser.add_argument("--objects", type=int, nargs="+", default=[6, 12, 20], help="road users, one street each")
    parser.add_argument("--seconds", type=float, default=30, help="of each street")
    given = parser.parse_args()
    if unknown := set(given.sources) - set(SOURCES):
        parser.error(f"{', '.join(sorted(unknown))}: allowed are {', '.join(SOURCES)}")
    timed = [name for name, with_time, _ in references() if with_time]
    print(f"IDF1 (switches); last columns, with timestamps: {', '.join(timed)}")
    heads = f"{'Sightline':<13}  {'limit':<5}  {'best with timestamps':<28}  best by frame count"
    print(f"{'source':<24} {'fps':>5} {'drop':>5}   {heads}")
    for what, sequences in _sources(given.sources, given.fps, given.objects, given.seconds):
        for share in DROPPED:
            print(_row(what, [sequence.dropped(share) for sequence in sequences], share).line(), flush=True)
    return 0


def _sources(
    names: list[str], rates: list[float], objects: list[int], seconds: float
) -> Iterator[tuple[str, list[Sequence]]]:
    motions = {"constant speed": (), "every motion": MOTIONS}
    for kind, motion in motions.items():
        for fps in rates if "truth" in names else ():
            specs = [street(number, fps, count, motion) for number, count in enumerate(objects)]
            yield f"truth, {kind}", [jittered(spec, seconds) for spec in specs]
        if "detector" in names:
            specs = [street(number, 5, count, motion) for number, count in enumerate(objects)]
            yield f"detector, {kind}", [detected(spec, seconds) for spec in specs]
    if "campus" in names:
        for every in (1, 2, 5):
            yield "TUD-Campus", [campus().thinned(every)]


def _row(what: str, sequences: list[Sequence], share: float) -> Row:
    found: dict[bool, dict[str, Verdict]] = {True: {}, False: {}}
    costs: dict[str, float] = {}
    for name, timed, contestant in references():
        runs = [contestant(sequence) for sequence in sequences]
        found[timed][name] = judge(sequences, runs)
        if name == "ByteTrack" and timed:
            costs = {"theirs": statistics.median(run.cost_ms for run in runs)}
    ours = [sightline(sequence) for sequence in sequences]
    best = judge(sequences, [all_knowing(sequence) for sequence in sequences])
    costs = {"ours": statistics.median(run.cost_ms for run in ours), **costs}
    return Row(what, sequences[0].fps, share, judge(sequences, ours), best, found[True], found[False], costs)


def _cell(verdict: Verdict) -> str:
    return f"{verdict.idf1:.3f} ({verdict.switches:>4})"


if __name__ == "__main__":
    raise SystemExit(main())
