"""How replicas follow the load: 1 → 8 → 2 cameras, by our policy and by Serve's, in one picture.

    python -m tests.benchmarks.scaling run --policy offered-frames --out ours.json
    python -m tests.benchmarks.scaling run --policy serve-as-tuned --out tuned.json
    python -m tests.benchmarks.scaling run --policy serve-default --out default.json
    python -m tests.benchmarks.scaling draw ours.json tuned.json default.json --picture configs/pictures/scaling.png

Ingress, batcher, publisher, cameras and their clients are the real ones. The detector sleeps, and sources give a small
grey picture: so replicas are what runs short, not the cores of the machine. Numbers are those of ``serve_config.yaml``,
but for the detectors' ``max_replicas``. Each run takes two and a half minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
import yaml
from ray import serve
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from app.core.ports import free_port
from tests.benchmarks.scaling.cameras import Fleet, Log
from tests.benchmarks.scaling.picture import Run, draw
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

FPS, BUDGET_MS = 5.0, 200
FIXED_S, FRAME_S = 0.050, 0.025
MOST = 8
STEPS = ((0.0, 1), (20.0, 8), (60.0, 2))
"""From which second how many cameras."""
END_S = 135.0
POLL_S = 0.5
TUNED = {
    "min_replicas": 1, "target_ongoing_requests": 1.2, "metrics_interval_s": 1, "look_back_period_s": 5,
    "upscale_delay_s": 5, "downscale_delay_s": 60,
}  # fmt: skip
"""Serve's own policy with numbers chosen for this system: what ``serve_config.yaml`` had before ours."""
CAPTION = (
    f"Cameras of {FPS:g} frames a second. The detector sleeps {FIXED_S * 1000:g} ms a batch and "
    f"{FRAME_S * 1000:g} ms a frame: replicas run short, not cores."
)
POLICIES = ("offered-frames", "serve-as-tuned", "serve-default")


def configuration(policy: str, spool: str, grpc_port: int) -> dict[str, Any]:
    """The shipped inference application, with the sleeping detector and a policy."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    application = next(each for each in config["applications"] if each["name"] == "inference")
    application["import_path"] = "tests.benchmarks.scaling.application:build"
    kept = ("slots_per_replica", "max_batch_size", "max_waiting")
    application["args"] = {name: application["args"][name] for name in kept}
    application["args"] |= {"spool": spool, "fixed_s": FIXED_S, "frame_s": FRAME_S}
    detector = next(each for each in application["deployments"] if each["name"] == "ObjectDetector")
    del detector["user_config"]
    if policy != "offered-frames":
        del application["autoscaling_policy"]
        detector["autoscaling_config"] = dict(TUNED) if policy == "serve-as-tuned" else {"min_replicas": 1}
    detector["autoscaling_config"]["max_replicas"] = MOST
    return {**config, "applications": [application], "grpc_options": {**config["grpc_options"], "port": grpc_port}}


def detectors() -> dict[str, int]:
    """Count the detector replicas by state."""
    application = serve.status().applications.get("inference")
    if application is None or "ObjectDetector" not in application.deployments:
        return {}
    states = application.deployments["ObjectDetector"].replica_states
    return {str(getattr(state, "value", state)): count for state, count in states.items()}


async def run(policy: str, kill_controller_at: float) -> Run:
    """Take one policy through the steps."""
    grpc_port = free_port()
    with tempfile.TemporaryDirectory() as spool:
        config = configuration(policy, spool, grpc_port)
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, namespace="serve")
        try:
            serve.start(http_options={"port": free_port()}, grpc_options=config["grpc_options"])
            _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config))
            await asyncio.to_thread(wait_for, lambda: detectors().get("RUNNING"), 90, "a detector")
            await asyncio.sleep(2)  # the ingress finds it within a second
            return await under_load(policy, grpc_port, kill_controller_at)
        finally:
            serve.shutdown()
            ray.shutdown()


async def under_load(policy: str, grpc_port: int, kill_controller_at: float) -> Run:
    log = Log(time.monotonic())
    fleet = Fleet(grpc_port, FPS, BUDGET_MS, log)
    replicas: list[tuple[float, int, int]] = []
    steps = list(STEPS)
    most = max(count for _, count in STEPS)
    while log.now() < END_S:
        if steps and log.now() >= steps[0][0]:
            await fleet.resize(steps.pop(0)[1], most)
        if log.now() >= kill_controller_at:
            ray.kill(ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE), no_restart=False)
            print(f"the controller was killed at {log.now():.0f} s")
            kill_controller_at = math.inf
        states = await asyncio.to_thread(detectors)
        running = states.get("RUNNING", 0)
        replicas.append((log.now(), running, running + states.get("STARTING", 0)))
        await asyncio.sleep(POLL_S)
    await fleet.resize(0, most)
    return Run(policy, replicas, log.latencies, log.drops, log.sampled)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--policy", choices=POLICIES, required=True)
    running.add_argument("--kill-controller-at", type=float, default=math.inf, metavar="SECOND")
    running.add_argument("--out", type=Path, required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("runs", type=Path, nargs="+")
    drawing.add_argument("--picture", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "run":
        done = asyncio.run(run(given.policy, given.kill_controller_at))
        given.out.write_text(json.dumps(done.as_json()))
        print(done.reported(STEPS, END_S))
    else:
        runs = [Run.from_json(json.loads(path.read_text())) for path in given.runs]
        for each in runs:
            print(each.reported(STEPS, END_S))
        draw(runs, STEPS, END_S, BUDGET_MS, CAPTION, given.picture)


if __name__ == "__main__":
    main()
