"""A node dies, and its cameras move: a cluster of three nodes on this machine, in a process of its own.

Prints one JSON document; ``python -m tests.endurance.node_death [--silent]``. Ray's health check is as it comes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from app.core.ports import free_ports
from tests.support.ray_apart import apart
from tests.support.waiting import wait_for

STREET = "synthetic://street?seed=7&width=320&height=192"
CAMERAS = [
    *({"id": f"edge-{number}", "url": STREET, "fps": 2, "resources": {"edge": 0.01}} for number in range(2)),
    *({"id": f"free-{number}", "url": STREET, "fps": 2} for number in range(4)),
]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--silent", action="store_true", help="the node does not die: it falls silent")
    arguments = parser.parse_args()
    with apart():
        print(json.dumps(measure(silent=arguments.silent)))


def measure(silent: bool) -> dict[str, Any]:
    """Run cameras on three nodes, take one away, and tell when each of its cameras samples again."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    (port,) = free_ports(1, "127.0.0.1")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"sightline_spool": 1}})
    stopped: list[int] = []
    try:
        victims = [cluster.add_node(num_cpus=1, resources={"edge": 1}) for _ in range(2)]
        ray.init(address=cluster.address, namespace="serve", log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        with tempfile.TemporaryDirectory() as folder:
            return _moved(serve, cluster, victims[0], Path(folder), stopped if silent else None)
    finally:
        for process in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


def _moved(serve: Any, cluster: Any, victim: Any, folder: Path, stopped: list[int] | None) -> dict[str, Any]:
    import yaml

    from deployments.graph import CamerasArgs, build_cameras

    (folder / "cameras.yaml").write_text(yaml.safe_dump({"cameras": CAMERAS}))
    settings = folder / "sightline.yaml"
    # No service is there: cameras sample all the same, and drop what they sample.
    settings.write_text(
        yaml.safe_dump(
            {"inference_service_url": "127.0.0.1:9", "cameras": str(folder / "cameras.yaml"), "state_dir": str(folder)}
        )
    )
    handle = serve.run(build_cameras(CamerasArgs(settings=settings)), name="cameras", route_prefix="/")

    def sampling() -> dict[str, int]:
        reported = handle.statuses.remote().result(timeout_s=30)
        return {one.id: one.epoch for one in reported if one.ledger.sampled}

    wait_for(lambda: len(sampling()) == len(CAMERAS), 120)
    before, nodes = sampling(), _nodes()
    lost = nodes[victim.node_id]
    died = time.monotonic()
    if stopped is None:
        cluster.remove_node(victim, allow_graceful=False)
    else:
        stopped += _silence(victim)
    back: dict[str, float] = {}

    def all_back() -> bool:
        for name, epoch in sampling().items():
            if epoch > before[name]:
                back.setdefault(name, time.monotonic() - died)
        return len(back) >= lost

    wait_for(all_back, 180)
    wait_for(lambda: len(sampling()) == len(CAMERAS), 60)
    if stopped:  # it wakes up: whatever it still runs of a camera must end, for the camera runs elsewhere
        for process in stopped:
            os.kill(process, signal.SIGCONT)
        wait_for(lambda: not any(map(_is_a_camera, stopped)), 60)
    return {
        "cameras_by_node": sorted(nodes.values()),
        "lost": lost,
        "back_s": {name: round(seconds, 1) for name, seconds in back.items()},
        "left_there": _nodes()[victim.node_id],
        "others_kept": sum(sampling()[name] == epoch for name, epoch in before.items()),
    }


def _nodes() -> Counter[str]:
    """Count the living cameras of each node."""
    import ray

    from deployments.camera import CameraActor

    return Counter(
        actor["Address"]["NodeID"]
        for actor in ray._private.state.actors().values()
        if actor["ActorClassName"] == CameraActor.__name__ and actor["State"] == "ALIVE"
    )


def _is_a_camera(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::CameraActor")
    except OSError:
        return False


def _silence(victim: Any) -> list[int]:
    """Stop every process of a node, so that its connections stay open and say nothing."""
    (raylet,) = (process.process.pid for process in victim.all_processes["raylet"])
    family = [raylet]
    for process in family:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        family += [int(child) for child in children]
    for process in family:
        os.kill(process, signal.SIGSTOP)
    return family


if __name__ == "__main__":
    main()
