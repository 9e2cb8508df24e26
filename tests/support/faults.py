"""The ground of the fault tests: a broker behind a proxy that can be cut, and the running system before it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from app.core.ports import free_ports
from app.publisher import SpoolAccounts, read_accounts
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from tests.support.load import Load, load
from tests.support.paths import ROOT
from tests.support.system import BIN, System, running
from tests.support.tcp_proxy import TcpProxy
from tests.support.verdict import TopicFollower, make_topic
from tests.support.waiting import wait_for

TOPIC = "events.detections"
CAMERA = "street-east"
"""The system's own camera."""
PUBLISHER, DETECTOR, INGRESS = "KafkaPublisher", "ObjectDetector", "DetectionIngress"
PROXY, CONTROLLER, CAMERA_ACTOR = "ProxyActor", "ServeController", "CameraActor"
"""How Ray names the processes of each kind."""


class Network:
    """A broker, and the way to it that a test may cut."""

    def __init__(self) -> None:
        port, way_port = free_ports(2)
        self.way = TcpProxy("127.0.0.1", port, way_port)
        self.broker = EmbeddedBroker(port=port, advertised=self.way.address)

    @property
    def bootstrap(self) -> str:
        """What clients are reported."""
        return self.way.address

    def __enter__(self) -> Network:
        self.broker.start()
        make_topic(self.bootstrap, TOPIC)
        return self

    def __exit__(self, *_: object) -> None:
        self.way.close()
        self.broker.stop()


class Ground:
    """A running system, the network below it, and what its topic shows."""

    def __init__(self, system: System, network: Network, spool: Path, config: Path, ports: tuple[int, int]) -> None:
        grpc_port, http_port = ports
        self.system = system
        self.network = network
        self.spool = spool
        self.config = config
        self.target = f"127.0.0.1:{grpc_port}"
        self.api = f"http://127.0.0.1:{http_port}"
        self.follower = TopicFollower(network.bootstrap, TOPIC)

    def load(
        self, name: str, *, cameras: int = 3, fps: float = 4.0, budget_ms: int = 0
    ) -> contextlib.AbstractContextManager[Load]:
        """Keep a load up while a test breaks something."""
        return load(self.target, name, cameras=cameras, fps=fps, budget_ms=budget_ms)

    def wait_until_it_works(self, timeout_s: float = 180.0) -> None:
        """Wait until a frame sent from now on is on the topic."""
        with self.load(f"probe{time.monotonic_ns()}", cameras=1, fps=5) as probe:
            wait_for(lambda: {call.event_id for call in probe.accepted} & self.follower.ids(), timeout_s, "an event")

    def accounts(self) -> SpoolAccounts:
        """Read the publisher's ledger, as the spool's file has it."""
        return read_accounts(self.spool)

    def kill(self, kind: str) -> float:
        """Kill the processes of a kind with SIGKILL; return the moment."""
        victims = self.system.processes(kind)
        assert victims, f"no process of kind {kind}"
        moment = time.monotonic()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        return moment

    def close(self) -> None:
        self.follower.close()


def write_config(folder: Path, grpc_port: int, http_port: int, detectors: int, max_bytes: int) -> Path:
    """Write the shipped Serve configuration with ports, settings and a number of detectors of the test's own."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    values = yaml.safe_load((ROOT / "configs" / "sightline.yaml").read_text())
    values["spool"]["max_bytes"] = max_bytes
    settings_file = folder / "sightline.yaml"
    settings_file.write_text(yaml.safe_dump(values))
    config["grpc_options"]["port"], config["http_options"]["port"] = grpc_port, http_port
    for application in config["applications"]:
        application["args"]["settings"] = str(settings_file)
        for deployment in application["deployments"]:
            if deployment["name"] == "ObjectDetector":
                scaling = deployment["autoscaling_config"]
                scaling["min_replicas"], scaling["max_replicas"] = detectors, max(2, detectors)
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def ground(
    folder: Path,
    network: Network,
    *,
    tuned: bool = False,
    spool: Path | None = None,
    wait: bool = True,
    detectors: int = 1,
    max_bytes: int = 1 << 30,
    environment: dict[str, str] | None = None,
) -> Iterator[Ground]:
    """Run the system as a user would: by ``serve run``, or by ``sightline up`` (tuned)."""
    grpc_port, http_port = free_ports(2)
    config = write_config(folder, grpc_port, http_port, detectors, max_bytes)
    spool = spool or folder / "spool"
    command = (
        [str(BIN / "sightline"), "up", "--config", str(config)] if tuned else [str(BIN / "serve"), "run", str(config)]
    )
    shell = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "KAFKA_BOOTSTRAP_SERVERS": network.bootstrap,
        "SIGHTLINE_SPOOL_DIR": str(spool),
        "SIGHTLINE_STATE_DIR": str(folder),
        "SIGHTLINE_CAMERAS": f"{CAMERA}=synthetic://street?seed=7&width=640&height=360",
        "INFERENCE_FPS": "2",
        "INFERENCE_SERVICE_URL": f"127.0.0.1:{grpc_port}",
    }
    with running(command, folder, **{**shell, **(environment or {})}) as system:
        found = Ground(system, network, spool, config, (grpc_port, http_port))
        try:
            if wait:
                found.wait_until_it_works()
            yield found
        finally:
            found.close()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of its own for a spool; needs root, as any mount does."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "sightline-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def remount(folder: Path, how: str) -> None:
    """Make a mounted file system ``ro`` or ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)
