"""What is delivered as more and more is offered, from a quarter of what the machine carries to six times that.

``python -m tests.benchmarks.load_curve --capacity 180 [--baseline COMMIT] --out curve.png`` puts 8 cameras on
Sightline, on the tree of another commit and on plain microservices in turns, with the detector that does nothing.
Capacity is in frames a second, such as what ``side_by_side --only no-op`` has as Sightline's best round; every
contestant is offered the same. Rounds change direction: the load rises in one and falls in the next, so that a state
that holds itself shows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from app.cli.bench.bench import machine
from tests.benchmarks.contestants.recording import record
from tests.benchmarks.contestants.sightline import unpack
from tests.benchmarks.side_by_side import ROOT, SIGHTLINE, Figures, Ground, micro, sightline

TIMES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 6.0)
"""Of the capacity."""
CAMERAS = 8
SHOWN: Mapping[str, str] = {
    "frames_per_s": "delivered, events/s",
    "p99_ms": "p99 to Kafka, ms",
    "fairness": "Jain's index",
    "cpu_ms_per_frame": "processor time an event, ms",
}
Rounds = Mapping[float, list[Figures]]
"""Times the capacity → the figures of each round."""


def measure(
    contestants: Mapping[str, Callable[[Ground], Figures]],
    recording: Path,
    capacity: float,
    rounds: int,
    seconds: float,
) -> dict[str, dict[float, list[Figures]]]:
    """Put every load on every contestant, round by round."""
    found: dict[str, dict[float, list[Figures]]] = {name: {times: [] for times in TIMES} for name in contestants}
    for number in range(rounds):
        for times in TIMES if number % 2 == 0 else reversed(TIMES):
            fps = times * capacity / CAMERAS
            ground = Ground(recording, None, CAMERAS, fps, fps, seconds, threads=1)
            for name, run in contestants.items():
                found[name][times].append(run(ground))
                print(row(name, times, times * capacity, found[name][times][-1]), flush=True)
    return found


HEAD = (
    f"| contestant | times | offered | {' | '.join(SHOWN.values())} |",
    f"|---|---|---|{'---|' * len(SHOWN)}",
)


def row(name: str, times: float, offered: float, figures: Figures) -> str:
    """Return a line of the table."""
    cells = (f"{figures[key]:.3g}" for key in SHOWN)
    return f"| {name} | {times:g} | {offered:.0f} | {' | '.join(cells)} |"


def lowest_share(rounds: Rounds, capacity: float) -> float:
    """Return the least of any round, at the capacity or more, of what the best round delivered."""
    delivered = [one["frames_per_s"] for times, figures in rounds.items() for one in figures if times >= 1]
    best = max(one["frames_per_s"] for figures in rounds.values() for one in figures)
    return min(delivered) / min(best, capacity)


def draw(found: Mapping[str, Rounds], capacity: float, path: Path) -> None:
    """Draw the median of the rounds, and their range."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(SHOWN), figsize=(4 * len(SHOWN), 3.4), layout="constrained")
    for panel, (key, title) in zip(panels, SHOWN.items(), strict=True):
        for name, rounds in found.items():
            values = [[one[key] for one in rounds[times]] for times in TIMES]
            (line,) = panel.plot(TIMES, list(map(statistics.median, values)), "o-", label=name)
            panel.fill_between(TIMES, list(map(min, values)), list(map(max, values)), color=line.get_color(), alpha=0.2)
        panel.set(title=title, xlabel=f"offered, times {capacity:.0f} frames/s", ylim=0)
    panels[0].legend(fontsize="x-small")
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=float, required=True, help="frames a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--baseline", metavar="COMMIT", help="of Sightline, which then competes too")
    parser.add_argument("--out", type=Path, help="where the picture goes")
    parser.add_argument("--json", type=Path, help="where every figure goes")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        contestants: dict[str, Callable[[Ground], Figures]] = {SIGHTLINE: sightline, "plain microservices": micro}
        if given.baseline:
            tree = unpack(given.baseline, ROOT, Path(folder))
            contestants[f"{SIGHTLINE} at {given.baseline}"] = partial(sightline, tree=tree)
        recording = record(Path(folder) / "street.avi", 640, 360, 30)
        print("\n".join(HEAD), flush=True)
        found = measure(contestants, recording, given.capacity, given.rounds, given.seconds)
    for name, rounds in found.items():
        print(f"{name}: at the capacity and above it never less than {lowest_share(rounds, given.capacity):.2f}")
    print(machine())
    if given.out:
        draw(found, given.capacity, given.out)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "found": found}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
