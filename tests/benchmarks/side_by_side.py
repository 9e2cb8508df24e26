"""Sightline beside what a user would write without it, on the same recording, in one run.

``python -m tests.benchmarks.side_by_side`` prints ratios, and with ``--json FILE`` writes every figure. Contestants
take turns, round by round, and a ratio is that of the medians of their rounds:

* *bare loop*: one process reads all sources and runs the model; no encoding, no transport, no Kafka;
* *plain microservices*: a grpc.aio server around the model and a Kafka producer (``acks=all``), and one client process
  a camera;
* *Ultralytics streams*: Ultralytics' own multi-source loader, and a Kafka send for each result;
* *Sightline*: as shipped; spool, validation, order and ledgers on.

All run the same network in the same form (its OpenVINO export), and write to a Tansu broker of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.cli.bench.bench import Bench, machine
from app.cli.bench.plan import BenchPlan
from app.core.ports import free_port
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from app.settings.serve_config import read_serve_config
from tests.benchmarks.contestants.recording import record

ROOT = Path(__file__).resolve().parents[2]
Figures = Mapping[str, float]


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


def sightline(ground: Ground) -> Figures:
    """(d)."""
    plan = BenchPlan(
        cameras=ground.cameras,
        fps=ground.fps,
        seconds=ground.seconds,
        warm_up_s=20.0,  # a second replica takes some seconds to come
        detector="model" if ground.model else "no-op",
        recording=ground.recording,
    )
    environment = {**os.environ, **({"DETECTOR_MODEL": str(ground.model)} if ground.model else {})}
    report = Bench(plan, read_serve_config(ROOT / "serve_config.yaml"), environment).run()
    assert report.capture_to_kafka_ms is not None
    return {
        "frames_per_s": report.delivered_per_s,
        "capture_to_kafka_ms": report.capture_to_kafka_ms.p50,
        "model_ms": report.stages_ms["inference"].p50,
        "within_200_ms": report.within_budget or 0.0,
        "cpu_ms_per_frame": report.cpu_ms_per_frame or 0.0,
        "replicas": report.replicas,
    }


CONTESTANTS: Mapping[str, Callable[[Ground], Figures]] = {
    "bare loop": bare,
    "plain microservices": micro,
    "Ultralytics streams": streams,
    "Sightline": sightline,
}


@dataclass(frozen=True)
class Comparison:
    """One question, and who answers it."""

    name: str
    contestants: tuple[str, ...]
    ground: Ground
    measure: Callable[[Figures], float]
    unit: str


def comparisons(folder: Path, seconds: float, threads: int) -> dict[str, Comparison]:
    """Make recordings and models, and put the questions."""
    from app.detection.models.exporter import export
    from tests.benchmarks.model_path import write_model

    heavy = folder / "yolo26n.pt"
    write_model("yolo26n", heavy)
    export(str(heavy), "openvino")
    demo = folder / "street.pt"
    write_model("street", demo)
    export(str(demo), "openvino")
    small = record(folder / "small.avi", 640, 360, 30)
    every = ("bare loop", "plain microservices", "Ultralytics streams", "Sightline")
    return {
        "model": Comparison(
            "YOLO26n at 640, 8 cameras, saturated", every,
            Ground(small, heavy, 8, 20, 0, seconds, threads), lambda one: one["frames_per_s"], "frames/s",
        ),
        "no-op": Comparison(
            "no-op detector, 8 cameras, saturated", ("plain microservices", "Sightline"),
            Ground(small, None, 8, 30, 0, seconds, threads), lambda one: one["frames_per_s"], "frames/s",
        ),
        "one": Comparison(
            "one camera at 5 FPS: what is added to the model", ("plain microservices", "Sightline"),
            Ground(small, demo, 1, 5, 5, seconds, threads),
            lambda one: one["capture_to_kafka_ms"] - one["model_ms"], "ms",
        ),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["model", "no-op", "one"], default=["model", "no-op", "one"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the others' model")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    reported = {}
    with tempfile.TemporaryDirectory() as folder:
        questions = comparisons(Path(folder), given.seconds, given.threads)
        for key in given.only:
            question = questions[key]
            rounds: dict[str, list[Figures]] = {name: [] for name in question.contestants}
            for _ in range(given.rounds):
                for name in question.contestants:
                    rounds[name].append(CONTESTANTS[name](question.ground))
                    print(f"  {name}: {dict(rounds[name][-1])}", file=sys.stderr, flush=True)
            reported[key] = rounds
            print("\n".join(table(question, rounds)), flush=True)
    print(machine())
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "rounds": reported}, indent=1))
    return 0


def table(question: Comparison, rounds: Mapping[str, list[Figures]]) -> list[str]:
    """Return a markdown table: each contestant's median, and Sightline's ratio to it."""
    medians = {name: statistics.median(map(question.measure, figures)) for name, figures in rounds.items()}
    ours = medians["Sightline"]
    lines = [f"\n| {question.name} | {question.unit} | Sightline ÷ this |", "|---|---|---|"]
    return lines + [f"| {name} | {median:.1f} | {ours / median:.2f} |" for name, median in medians.items()]


if __name__ == "__main__":
    raise SystemExit(main())
