"""A Ray cluster started by ``ray start``, as its user would, and Ray's own ways to deploy onto it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from app.core.ports import free_ports
from tests.support.paths import ROOT
from tests.support.system import BIN, System, running
from tests.support.waiting import wait_for

LOOPBACK = "127.0.0.1"
STREET = "solo=synthetic://street?seed=7&width=320&height=192"
COMMAND_TIMEOUT_S = 240.0
"""A command of Ray's loads for up to 20 s on two busy cores."""
_START_TRIES = 3
"""How often a node is started that did not come up in Ray's own time."""
_NODE_PORTS = 2
"""Ports that are named for each node."""
OUR_ACTORS = ("BrokerActor", "KafkaPublisher", "CameraActor", "ServeReplica", "ServeController", "ProxyActor")
"""What the class names of the actors contain that a deployment brings with it."""


@dataclass(frozen=True)
class Ports:
    """Ports of the cluster and of what is deployed on it."""

    gcs: int
    dashboard: int
    grpc: int
    http: int


class ExistingCluster:
    """A head, and nodes that joined it; token authentication is on, as Ray has it by default."""

    def __init__(self, folder: Path, head: System, ports: Ports, environment: Mapping[str, str]) -> None:
        self.folder = folder
        """Where ``ray start`` was called; not the checkout."""
        self.head = head
        self.ports = ports
        self.dashboard = f"http://{LOOPBACK}:{ports.dashboard}"
        self._environment = dict(environment)
        self._web = httpx.Client(headers={"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"}, timeout=60)

    def config(self, **changes: Any) -> dict[str, Any]:
        """Return ``serve_config.yaml`` with this cluster's ports; ``changes`` go into each application's ``args``."""
        config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        config["http_options"]["port"], config["grpc_options"]["port"] = self.ports.http, self.ports.grpc
        for application in config["applications"]:
            application["args"].update({"settings": changes["settings"]} if "settings" in changes else {})
        inference = config["applications"][0]
        inference["args"].update({key: value for key, value in changes.items() if key != "settings"})
        for deployment in inference["deployments"]:
            if deployment["name"] == "ObjectDetector":
                deployment["autoscaling_config"]["max_replicas"] = 1
        return dict(config)

    def deploy(self, config: Mapping[str, Any], folder: Path) -> None:
        """Run ``serve deploy`` in a folder.

        Raises:
            AssertionError: it failed; the text is what it printed.
        """
        (folder / "system.yaml").write_text(yaml.safe_dump(dict(config)))
        self._serve("deploy", "system.yaml", "--address", self.dashboard, folder=folder)

    def put(self, config: Mapping[str, Any]) -> None:
        """Deploy by the REST API.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        self._web.put(f"{self.dashboard}/api/serve/applications/", json=dict(config)).raise_for_status()

    def shut_down(self, folder: Path) -> None:
        """Run ``serve shutdown`` in a folder.

        Raises:
            AssertionError: it failed; the text is what it printed.
        """
        self._serve("shutdown", "--yes", "--address", self.dashboard, folder=folder)

    @contextlib.contextmanager
    def serving(self, config: Mapping[str, Any], folder: Path, *command: str, **shell: str) -> Iterator[System]:
        """Run ``serve run``, or another command, in a folder, as a driver that joins this cluster.

        Args:
            config: written into the folder, as ``system.yaml``.
            folder: where the command is run.
            command: what is run; none: ``serve run``.
            shell: further variables of the command.
        """
        (folder / "system.yaml").write_text(yaml.safe_dump(dict(config)))
        run = list(command) or [sys.executable, "-m", "ray.serve.scripts", "run", "system.yaml"]
        variables = {**self._environment, "RAY_ADDRESS": f"{LOOPBACK}:{self.ports.gcs}", **shell}
        with running(run, self.head.state, folder, **variables) as system:
            yield system

    @contextlib.contextmanager
    def another_node(self, *, cpus: int) -> Iterator[System]:
        """Have a node join, by ``ray start --address``."""
        # Nodes of one machine cannot have proxies on the same ports.
        grpc, http, *ports = free_ports(2 + _NODE_PORTS)
        apart = {"RAY_SERVE_WORKER_PROXY_GRPC_PORT": str(grpc), "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(http)}
        address = f"--address={LOOPBACK}:{self.ports.gcs}"
        environment = {**self._environment, **apart}
        with _node(self.folder, self.head.state, environment, ports, address, f"--num-cpus={cpus}") as node:
            yield node

    def applications(self) -> dict[str, Any]:
        """Return what Serve tells of each application."""
        answer = self._web.get(f"{self.dashboard}/api/serve/applications/")
        return dict(answer.raise_for_status().json()["applications"])

    def messages(self) -> str:
        """Return what Serve says of the applications' state."""
        return "\n".join(f"{name}: {one['status']} {one['message']}" for name, one in self.applications().items())

    def trouble(self) -> str | None:
        """Return why events cannot be delivered now, by the HTTP API; none while that does not answer."""
        with contextlib.suppress(httpx.HTTPError):
            reported = httpx.get(f"http://{LOOPBACK}:{self.ports.http}/api/v1/status", timeout=10)
            return str(reported.json()["broker"]["trouble"]) if reported.status_code == 200 else None
        return None

    def actors(self) -> list[dict[str, Any]]:
        """Return the living actors of a deployment."""
        answer = self._web.get(f"{self.dashboard}/api/v0/actors?detail=1&limit=10000")
        reported = answer.raise_for_status().json()["data"]["result"]["result"]
        alive = [actor for actor in reported if actor["state"] != "DEAD"]
        return [actor for actor in alive if any(name in actor["class_name"] for name in OUR_ACTORS)]

    def nodes_of(self, kind: str) -> set[str]:
        """Return the ids of the nodes that have a living actor of a kind."""
        return {actor["node_id"] for actor in self.actors() if kind in actor["class_name"]}

    def head_node(self) -> str:
        """Return the id of the head node."""
        answer = self._web.get(f"{self.dashboard}/api/v0/nodes?detail=1").raise_for_status().json()
        return next(str(node["node_id"]) for node in answer["data"]["result"]["result"] if node["is_head_node"])

    def brokers(self) -> list[int]:
        """Return the process ids of the embedded brokers that actors of this cluster started."""
        owners = set(self.head.processes("BrokerActor"))
        found = []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                found += [int(process.name)] if parent in owners else []
        return found

    def broker(self) -> str:
        """Wait for the embedded broker, and return its address."""
        return self.head.broker(timeout_s=180)

    def gone(self, timeout_s: float = 90.0) -> None:
        """Wait until no actor of a deployment, and no process of one, is left.

        Raises:
            TimeoutError: something is; the text says what.
        """
        try:
            wait_for(lambda: not self.left(), timeout_s)
        except TimeoutError:
            raise TimeoutError(f"left behind after {timeout_s:.0f} s: {self.left()}") from None

    def left(self) -> list[str]:
        """Return what is there of a deployment: actors by Ray's word, and processes by the kernel's."""
        processes = [line for line in self.head.survivors() if any(name in line for name in OUR_ACTORS)]
        return [*(f"{actor['class_name']} {actor['state']}" for actor in self.actors()), *processes]

    def _serve(self, *arguments: str, folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "ray.serve.scripts", *arguments],
            cwd=folder,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def existing_cluster(folder: Path, *, cpus: int = 4, **environment: str) -> Iterator[ExistingCluster]:
    """Start a cluster by ``ray start --head`` in a folder, and end it with all that runs on it.

    Args:
        folder: the test's; the cluster's processes work in it, and keep their state below it.
        cpus: what the head offers.
        environment: further variables of the cluster's processes.
    """
    gcs, dashboard, grpc, http, client, *node_ports = free_ports(5 + _NODE_PORTS)
    ports = Ports(gcs, dashboard, grpc, http)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short:  # sockets' paths are limited
        reported = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": short,
            "PYTHONPATH": str(ROOT),
            "INFERENCE_SERVICE_URL": f"{LOOPBACK}:{grpc}",
            "SIGHTLINE_CAMERAS": STREET,
            "INFERENCE_FPS": "2",
            "SIGHTLINE_LATENCY_BUDGET_MS": "5000",  # the machine is small, and these tests are about arriving
            **environment,
        }
        options = [
            *("--head", f"--port={gcs}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"),
            *(f"--num-cpus={cpus}", f"--temp-dir={short}"),
        ]
        with _node(folder, folder / "state", reported, node_ports, *options) as head:
            yield ExistingCluster(folder, head, ports, reported)


@contextlib.contextmanager
def _node(
    folder: Path, state: Path, environment: Mapping[str, str], ports: Sequence[int], *options: str
) -> Iterator[System]:
    agent, agent_grpc = ports
    command = [
        *(str(BIN / "ray"), "start", "--block", f"--node-ip-address={LOOPBACK}", *options),
        # Ports of the node's own: another Ray on this machine has the usual ones.
        *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
        *("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=157286400"),
    ]
    for tries_left in reversed(range(_START_TRIES)):
        with running(command, state, folder, **environment) as node:
            try:
                node.wait_for_line("Ray runtime started")
            except AssertionError:
                # Ray gives its raylet 30 s, which no option changes (Ray 2.60): too little on a very busy machine.
                if not tries_left or "timed out during startup" not in node.output:
                    raise
                continue
            yield node
            return
