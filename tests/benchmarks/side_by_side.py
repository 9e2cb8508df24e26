"""Sightline beside what a user would write without it, on the same recording, in one run.

``python -m tests.benchmarks.side_by_side`` prints ratios, and with ``--json FILE`` writes every figure. Contestants
take turns, round by round, and a ratio is that of the medians of their rounds:

* *bare loop*: one process reads all sources and runs the model; no encoding, no transport, no Kafka;
* *plain microservices*: a grpc.aio server around the model and a Kafka producer (``acks=all``), and one client process
  a camera;
* *Ultralytics streams*: Ultralytics' own multi-source loader, and a Kafka send for each result;
* *Sightline*: as shipped; spool, validation, order and ledgers on;
* *Sightline at COMMIT*, with ``--baseline COMMIT``: the tree of another commit, run by its own ``sightline bench``.

All run the same network in the same form (its OpenVINO export), and write to a Tansu broker of their own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.bench.bench import machine
from app.core.ports import free_port
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from tests.benchmarks.contestants.recording import record
from tests.benchmarks.contestants.sightline import Load, bench, unpack

ROOT = Path(__file__).resolve().parents[2]
Figures = Mapping[str, float]
COSTS = ("frames_a_batch", "replicas", "p99_ms", "within_200_ms", "fairness")
"""What is reported of Sightline beside the processor time."""


@dataclass(frozen=True)
class Ground:
    """What all contestants of a comparison have in common."""

    recording: Path
    model: Path | None
    """The weights, with their export beside them; none: a detector that does nothing."""
    cameras: int
    fps: float
    """Each camera's rate for Sightline; 0 in a saturated comparison lets the others run as fast as they can."""
    others_fps: float
    seconds: float
    threads: int
    image_size: int = 640

    @property
    def form(self) -> str:
        """What a contestant without our loader is given."""
        assert self.model is not None
        return str(self.model.with_name(f"{self.model.stem}_openvino_model"))


def contestant(module: str, *arguments: object) -> Figures:
    """Run one and read the figures it prints last."""
    command = [sys.executable, "-m", f"tests.benchmarks.contestants.{module}", *map(str, arguments)]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(ended.stdout.strip().splitlines()[-1])
    return figures


def bare(ground: Ground) -> Figures:
    """(a)."""
    return contestant("bare", "--recording", ground.recording, "--model", ground.model or "no-op", "--cameras",
                      ground.cameras, "--seconds", ground.seconds, "--threads", ground.threads)  # fmt: skip


def micro(ground: Ground) -> Figures:
    """(b)."""
    with EmbeddedBroker() as broker:
        return contestant("micro", "--port", free_port(), "--recording", ground.recording, "--fps", ground.others_fps,
                          "--model", ground.model or "no-op", "--cameras", ground.cameras, "--threads", ground.threads,
                          "--bootstrap", broker.address, "--seconds", ground.seconds)  # fmt: skip


def streams(ground: Ground) -> Figures:
    """(c)."""
    with EmbeddedBroker() as broker:
        return contestant("streams", "--recording", ground.recording, "--model", ground.form, "--image-size",
                          ground.image_size, "--cameras", ground.cameras, "--seconds", ground.seconds,
                          "--bootstrap", broker.address)  # fmt: skip


def sightline(ground: Ground, tree: Path = ROOT) -> Figures:
    """(d); with ``tree`` that of another commit."""
    report = bench(tree, Load(ground.cameras, ground.fps, ground.seconds, ground.recording, ground.model))
    published = max(1, report["tally"]["published"])
    return {
        "frames_per_s": report["delivered_per_s"],
        "capture_to_kafka_ms": report["capture_to_kafka_ms"]["p50"],
        "p99_ms": report["capture_to_kafka_ms"]["p99"],
        "model_ms": report["stages_ms"]["inference"]["p50"],
        "within_200_ms": report["within_budget"] or 0.0,
        "fairness": report["fairness"] or 0.0,
        "replicas": report["replicas"],
        "frames_a_batch": report.get("frames_a_batch") or math.nan,
        "cpu_ms_per_frame": report["cpu_ms_per_frame"] or 0.0,
        **{f"cpu_ms_per_frame of {cost['kind']}": 1000 * cost["cpu_s"] / published for cost in report["processes"]},
    }


SIGHTLINE = "Sightline"
CONTESTANTS: Mapping[str, Callable[[Ground], Figures]] = {
    "bare loop": bare,
    "plain microservices": micro,
    "Ultralytics streams": streams,
    SIGHTLINE: sightline,
}


@dataclass(frozen=True)
class Comparison:
    """One question, and who answers it."""

    name: str
    contestants: tuple[str, ...]
    ground: Ground
    measure: Callable[[Figures], float]
    unit: str
    more_is_better: bool = True


def comparisons(folder: Path, asked: Sequence[str], seconds: float, threads: int) -> dict[str, Comparison]:
    """Make the recording and the models that are needed, and put the questions."""
    heavy, demo = folder / "yolo26n.pt", folder / "street.pt"
    for key, model in (("model", heavy), ("one", demo)):
        if key in asked:
            _write_models(model)
    small = record(folder / "small.avi", 640, 360, 30)
    every = tuple(CONTESTANTS)
    return {
        "model": Comparison(
            "YOLO26n at 640, 8 cameras, saturated", every,
            Ground(small, heavy, 8, 20, 0, seconds, threads), lambda one: one["frames_per_s"], "frames/s",
        ),
        "no-op": Comparison(
            "no-op detector, 8 cameras, saturated", ("plain microservices", SIGHTLINE),
            Ground(small, None, 8, 30, 0, seconds, threads), lambda one: one["frames_per_s"], "frames/s",
        ),
        "one": Comparison(
            "one camera at 5 FPS: what is added to the model", ("plain microservices", SIGHTLINE),
            Ground(small, demo, 1, 5, 5, seconds, threads),
            lambda one: one["capture_to_kafka_ms"] - one["model_ms"], "ms", more_is_better=False,
        ),
    }  # fmt: skip


def _write_models(weights: Path) -> None:
    from app.detection.models.exporter import export
    from tests.benchmarks.model_path import write_model

    write_model(weights.stem, weights)
    export(str(weights), "openvino")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["model", "no-op", "one"], default=["model", "no-op", "one"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the others' model")
    parser.add_argument("--baseline", metavar="COMMIT", help="of Sightline, which then competes too")
    parser.add_argument("--alone", action="store_true", help="only Sightline and its baseline")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    reported = {}
    with tempfile.TemporaryDirectory() as folder:
        contestants = dict(CONTESTANTS)
        if given.baseline:
            tree = unpack(given.baseline, ROOT, Path(folder))
            contestants[f"{SIGHTLINE} at {given.baseline}"] = lambda ground: sightline(ground, tree)
        questions = comparisons(Path(folder), given.only, given.seconds, given.threads)
        for key in given.only:
            question = questions[key]
            names = [name for name in contestants if name in question.contestants or name not in CONTESTANTS]
            if given.alone:
                names = [name for name in names if name.startswith(SIGHTLINE)]
            rounds: dict[str, list[Figures]] = {name: [] for name in names}
            for number in range(given.rounds):
                # Who is first changes, so that a neighbour who comes and goes meets each of them.
                for name in names if number % 2 == 0 else reversed(names):
                    rounds[name].append(contestants[name](question.ground))
                    print(f"  {name}: {dict(rounds[name][-1])}", file=sys.stderr, flush=True)
            reported[key] = rounds
            print("\n".join(table(question, rounds)), flush=True)
    print(machine())
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "rounds": reported}, indent=1))
    return 0


def table(question: Comparison, rounds: Mapping[str, list[Figures]]) -> list[str]:
    """Return markdown tables: each contestant's rounds and Sightline's ratio to it, and the costs of Sightline.

    A ratio is that of the medians; behind it is the worst of any round, in which both ran one after the other.
    """
    measured = {name: [question.measure(one) for one in figures] for name, figures in rounds.items()}
    ours = measured[SIGHTLINE]
    worse = min if question.more_is_better else max
    lines = [
        f"\n| {question.name} | {question.unit}, each round | median | worst | Sightline ÷ this | worst round |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in measured.items():
        ratio = statistics.median(ours) / statistics.median(values)
        worst = worse(one / other for one, other in zip(ours, values, strict=True))
        each = ", ".join(f"{value:.1f}" for value in values)
        lines.append(
            f"| {name} | {each} | {statistics.median(values):.1f} | {worse(values):.1f} | {ratio:.2f} | {worst:.2f} |"
        )
    return lines + costs({name: figures for name, figures in rounds.items() if name.startswith(SIGHTLINE)})


def costs(rounds: Mapping[str, list[Figures]]) -> list[str]:
    """Return a markdown table: the medians of what each tree of Sightline used, and the ratio of the first to it."""
    kinds = list(dict.fromkeys(key for figures in rounds.values() for one in figures for key in one if key in COSTS
                               or key.startswith("cpu_ms_per_frame")))  # fmt: skip
    medians = {
        name: {key: statistics.median(one.get(key, math.nan) for one in figures) for key in kinds}
        for name, figures in rounds.items()
    }
    ours = medians[SIGHTLINE]
    others = [name for name in medians if name != SIGHTLINE]
    lines = ["", f"| median | {' | '.join(medians)} |{' ratio |' * len(others)}"]
    lines.append("|---" * (1 + len(medians) + len(others)) + "|")
    for key in kinds:
        cells = [f"{medians[name][key]:.2f}" for name in medians]
        cells += [f"{ours[key] / medians[name][key]:.2f}" if medians[name][key] else "-" for name in others]
        lines.append(f"| {key} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
