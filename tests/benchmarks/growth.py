"""Growth and overload: what a frame costs, and what is delivered, as cameras become more.

``python -m tests.benchmarks.growth [--out configs/pictures/growth.png]`` runs 1, 2, 4, … 32 cameras at 5 FPS with the
detector that does nothing, prints a table and draws it. ``--overload`` instead finds the most that the machine delivers
with the model, and puts twice that load on it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.cli.bench.bench import Bench
from app.cli.bench.plan import BenchPlan
from app.cli.bench.report import BenchReport
from app.settings.serve_config import read_serve_config
from tests.benchmarks.contestants.recording import record

ROOT = Path(__file__).resolve().parents[2]
STEPS = (1, 2, 4, 8, 16, 32)


def run(plan: BenchPlan) -> BenchReport:
    """Run one load on a system of its own."""
    return Bench(plan, read_serve_config(ROOT / "serve_config.yaml"), dict(os.environ)).run()


def row(report: BenchReport) -> str:
    """Return a line of the table."""
    tally, kafka = report.tally, report.capture_to_kafka_ms
    drops = ", ".join(f"{reason} {count}" for reason, count in tally.dropped.items()) or "0"
    cells = (
        f"{report.plan.cameras} × {report.plan.fps:g}",
        f"{report.delivered_per_s:.1f}",
        f"{report.within_budget or 0:.1%}",
        f"{kafka.p50:.0f}" if kafka else "-",
        f"{kafka.p99:.0f}" if kafka else "-",
        f"{report.cpu_ms_per_frame or 0:.1f}",
        f"{report.camera_megabytes or 0:.0f}",
        f"{report.fairness or 0:.3f}",
        drops,
    )
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| cameras × FPS | delivered/s | within 200 ms | p50 ms | p99 ms | CPU ms a frame | MB a camera | fairness "
    "| dropped |",
    "|---|---|---|---|---|---|---|---|---|",
)


def grow(recording: Path, seconds: float, steps: Sequence[int]) -> list[BenchReport]:
    """Add cameras."""
    reports = []
    print("\n".join(HEAD), flush=True)
    for cameras in steps:
        plan = BenchPlan(cameras, 5.0, seconds, 10.0, "no-op", recording=recording)
        reports.append(run(plan))
        print(row(reports[-1]), flush=True)
    return reports


def overload(recording: Path, seconds: float, fps: float) -> list[BenchReport]:
    """Find the peak with more cameras than the machine can carry, then offer twice the peak."""
    print("\n".join(HEAD), flush=True)
    probe = BenchPlan(16, fps, seconds, 25.0, recording=recording)
    peak = run(probe)
    print(row(peak), flush=True)
    cameras = max(2, round(peak.delivered_per_s / fps))
    reports = [peak]
    for count in (cameras, 2 * cameras):
        reports.append(run(replace(probe, cameras=count)))
        print(row(reports[-1]), flush=True)
    return reports


def draw(reports: Sequence[BenchReport], path: Path) -> None:
    """Draw cost, latency and rate against the number of cameras."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cameras = [report.plan.cameras for report in reports]
    figure, (cost, latency, rate) = pyplot.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    kinds = [cost_.kind for cost_ in max(reports, key=lambda one: len(one.processes)).processes]
    stacks = [
        [1000 * sum(one.cpu_s for one in report.processes if one.kind == kind) / report.tally.published
         for report in reports]
        for kind in kinds
    ]  # fmt: skip
    cost.stackplot(cameras, stacks, labels=kinds)
    cost.set(title="processor time a frame", xlabel="cameras at 5 FPS", ylabel="ms", xscale="log", xticks=cameras)
    cost.legend(fontsize="x-small", ncols=2)
    for share in ("p50", "p95", "p99"):
        latency.plot(cameras, [getattr(report.capture_to_kafka_ms, share) for report in reports], "o-", label=share)
    latency.axhline(200, color="grey", linestyle="--", linewidth=1)
    latency.set(title="capture to Kafka", xlabel="cameras at 5 FPS", ylabel="ms", xscale="log", xticks=cameras, ylim=0)
    latency.legend(fontsize="x-small")
    rate.plot(cameras, [5 * count for count in cameras], "--", color="grey", label="offered")
    rate.plot(cameras, [report.delivered_per_s for report in reports], "o-", label="delivered")
    rate.set(title="events a second", xlabel="cameras at 5 FPS", xscale="log", xticks=cameras, ylim=0)
    rate.legend(fontsize="x-small")
    for axes in (cost, latency, rate):
        axes.set_xticklabels([str(count) for count in cameras])
        axes.minorticks_off()
    figure.suptitle(
        f"Sightline with a detector that does nothing; {reports[-1].machine.split(', load')[0]}", fontsize=10
    )
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--cameras", nargs="+", type=int, default=list(STEPS))
    parser.add_argument("--overload", action="store_true")
    parser.add_argument("--fps", type=float, default=5.0, help="of each camera under --overload")
    parser.add_argument("--out", type=Path, help="where the picture goes")
    parser.add_argument("--json", type=Path, help="where every figure goes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording = record(Path(folder) / "street.avi", 640, 360, 25)
        if given.overload:
            reports = overload(recording, given.seconds, given.fps)
        else:
            reports = grow(recording, given.seconds, given.cameras)
    print(reports[-1].machine)
    if given.out:
        draw(reports, given.out)
    if given.json:
        given.json.write_text(json.dumps([report.as_json() for report in reports], indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
