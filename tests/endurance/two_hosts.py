"""A node with an address of its own, and no proxy of Serve's on it: its cameras ask the proxy of another node.

Needs root: the node runs in a network namespace, so that its loopback is not the head's, as on another machine. Prints
one JSON document; ``python -m tests.endurance.two_hosts``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from app.cameras import CameraStatus
from app.core.ports import free_ports
from tests.support.paths import ROOT
from tests.support.ray_apart import apart
from tests.support.waiting import wait_for

HEAD = {"sightline_spool": 1}
"""Whatever asks for this runs on the head: a replica on the other node would bring a proxy with it."""
SPACE, HERE, THERE = "sightline-edge", "10.77.13.1", "10.77.13.2"
STREET = "synthetic://street?seed=7&width=320&height=192"
CAMERAS = [{"id": f"edge-{number}", "url": STREET, "fps": 2, "resources": {"edge": 0.01}} for number in range(2)]


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Make a network namespace with an address of its own, and a way between it and ours."""
    ours, theirs = "sightline0", "sightline1"
    steps = (
        f"ip netns add {SPACE}",
        f"ip link add {ours} type veth peer name {theirs} netns {SPACE}",
        f"ip addr add {HERE}/24 dev {ours}",
        f"ip link set {ours} up",
        f"ip -n {SPACE} addr add {THERE}/24 dev {theirs}",
        f"ip -n {SPACE} link set {theirs} up",
        f"ip -n {SPACE} link set lo up",
    )
    subprocess.run(["ip", "netns", "del", SPACE], stderr=subprocess.DEVNULL, check=False)  # of one that was killed
    try:
        for step in steps:
            subprocess.run(step.split(), check=True)
        yield
    finally:
        left = subprocess.run(["ip", "netns", "pids", SPACE], capture_output=True, text=True, check=False).stdout
        for process in left.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), 9)
        subprocess.run(["ip", "netns", "del", SPACE], check=False)


@contextlib.contextmanager
def nodes() -> Iterator[None]:
    """Run a head here, and a node with the resource ``edge`` in the namespace."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "node_ip_address": HERE, "resources": HEAD},
    )
    command = [
        *("ip", "netns", "exec", SPACE, sys.executable, "-m", "ray.scripts.scripts", "start"),
        *(f"--address={cluster.address}", f"--node-ip-address={THERE}", "--num-cpus=0", '--resources={"edge": 1}'),
        *("--object-store-memory=157286400", "--disable-usage-stats", "--block"),
    ]
    try:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as edge:
            try:
                ray.init(address=cluster.address, namespace="serve", log_to_driver=False)
                wait_for(lambda: len(ray.nodes()) == 2, 60, "the second node")
                yield
            finally:
                edge.terminate()
    finally:
        ray.shutdown()
        cluster.shutdown()


def _answers_there(port: int) -> bool:
    """Return whether anything listens on the namespace's own loopback."""
    connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 3)"
    tried = subprocess.run(
        ["ip", "netns", "exec", SPACE, sys.executable, "-c", connect], stderr=subprocess.DEVNULL, check=False
    )
    return tried.returncode == 0


def _applications(settings: Path) -> list[dict[str, Any]]:
    ingress = {
        "name": "DetectionIngress",
        "ray_actor_options": {"num_cpus": 0, "resources": {"sightline_spool": 0.001}},
    }
    return [
        {
            "name": "inference",
            "route_prefix": "/inference",
            "import_path": "deployments.graph:build_inference_without_model",
            "args": {"settings": str(settings)},
            "deployments": [ingress],
        },
        {
            "name": "cameras",
            "route_prefix": "/",
            "import_path": "deployments.graph:build_cameras",
            "args": {"settings": str(settings)},
        },
    ]


def measure() -> dict[str, Any]:
    """Run cameras on the node without a proxy, and tell how they fare."""
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    grpc_port, http_port = free_ports(2)
    with (
        tempfile.TemporaryDirectory(prefix="two", ignore_cleanup_errors=True) as name,
        network(),
        nodes(),
    ):
        folder = Path(name)
        (folder / "cameras.yaml").write_text(yaml.safe_dump({"cameras": CAMERAS}))
        settings = folder / "sightline.yaml"
        values = {
            "inference_service_url": f"127.0.0.1:{grpc_port}",
            "cameras": str(folder / "cameras.yaml"),
            "latency_budget_ms": 5000,
            "kafka": {"enabled": False},
            "spool": {"dir": str(folder / "spool"), "pinned": True},
            "state_dir": str(folder),
        }
        settings.write_text(yaml.safe_dump(values))
        serve.start(
            proxy_location=config["proxy_location"],
            http_options={"host": "127.0.0.1", "port": http_port},
            grpc_options={**config["grpc_options"], "port": grpc_port},
        )
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": _applications(settings)}))

        def statuses() -> list[CameraStatus]:
            with contextlib.suppress(Exception):  # the application is being deployed
                reported: list[CameraStatus] = serve.get_app_handle("cameras").statuses.remote().result(timeout_s=10)
                return reported
            return []

        wait_for(statuses, 90, "cameras")
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: sum(one.ledger.accepted >= 10 for one in statuses()) == len(CAMERAS), 45)
        reported = statuses()
        result = {
            "served_by_its_own_loopback": _answers_there(grpc_port),
            "proxies": len(serve.status().proxies),
            "seconds": round(time.monotonic() - began, 1),
            "cameras": {
                one.id: {
                    "accepted": one.ledger.accepted,
                    "dropped": {reason.value: count for reason, count in one.ledger.dropped.items() if count},
                }
                for one in reported
            },
        }
        serve.shutdown()
    return result


if __name__ == "__main__":
    with apart():
        print(json.dumps(measure()))
