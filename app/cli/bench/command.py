"""``sightline bench``: a whole system of its own under the load of N cameras."""

from __future__ import annotations

import json as JSON  # noqa: N812  # an option is called json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.bench.plan import BenchPlan, size_of
from app.cli.console import CONFIG, Config, Json, progress, resolve_settings, wide_console
from app.settings.environment import process_environment
from app.settings.serve_config import find_serve_config, read_serve_config


def bench(
    cameras: Annotated[int, typer.Option(help="How many cameras.")] = 4,
    fps: Annotated[float, typer.Option(help="Frames sampled per second, each.")] = 5.0,
    seconds: Annotated[float, typer.Option(help="How long is measured.")] = 30.0,
    warm_up: Annotated[float, typer.Option("--warm-up", help="Seconds of load before.")] = 10.0,
    detector: Annotated[str, typer.Option(help="model, or no-op: one that costs nothing.")] = "model",
    size: Annotated[str, typer.Option(help="Pixels of each simulated camera.")] = "1280x720",
    recording: Annotated[Path | None, typer.Option(help="A video file that every camera plays instead.")] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Measure a system of its own under the load of N cameras: latencies by stage, rate, drops and costs."""
    width, height = size_of(size)
    plan = BenchPlan(cameras, fps, seconds, warm_up, detector, width, height, recording)
    resolve_settings(config)  # a mistake is reported before anything starts
    from app.cli.bench.bench import Bench
    from app.cli.bench.report import screen

    serve_config = read_serve_config(find_serve_config(config))
    with progress(plan.description, seconds) as set_done:
        report = Bench(plan, serve_config, process_environment(), set_done).run()
    if json:
        print(JSON.dumps(report.as_json()))
    else:
        wide_console().print(screen(report))
