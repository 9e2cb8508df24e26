"""A cluster of five nodes on this machine, each of a kind; one of each kind is killed under load, in turn.

Prints one JSON document; ``python -m tests.endurance.many_nodes [--kind KIND ...]``. The head is not killed: without
fault tolerance of Ray's GCS nothing survives its death.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.cli.up import TUNED
from app.core.ports import free_ports
from app.publisher import read_accounts
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from tests.support.load import Load, load
from tests.support.paths import ROOT
from tests.support.ray_apart import apart
from tests.support.verdict import TopicFollower, judge, make_topic
from tests.support.waiting import wait_for

TOPIC = "events.detections"
STREET = "synthetic://street?seed=7&width=320&height=192"
FPS = 2
OUTAGE_S = 2.0
"""So long without an event, four frames, counts as an outage."""
CAMERAS: list[dict[str, Any]] = [
    {"id": "edge-0", "url": STREET, "fps": FPS, "resources": {"edge": 0.01}},
    *({"id": f"free-{number}", "url": STREET, "fps": FPS} for number in range(4)),
]
KINDS: dict[str, dict[str, Any]] = {
    "edge": {"num_cpus": 0, "resources": {"edge": 1}},
    "gpu": {"num_cpus": 1, "num_gpus": 1},
    "spool": {"num_cpus": 0, "resources": {"sightline_spool": 1}},
    "plain": {"num_cpus": 0},
}
"""What each kind of node has beside the head, which has no CPU for a detector."""
PLACES = {"ObjectDetector": {"gpu"}, "KafkaPublisher": {"spool"}, "CameraManager": {"spool"}}
"""Where it must run; cameras are looked at one by one."""
SHOWN = ("KafkaPublisher", "CameraActor", "ObjectDetector", "DetectionIngress", "CameraManager", "ProxyActor")
Epoch = tuple[str, int]


@dataclass(frozen=True)
class LastLedger:
    """What a camera's ledger reported last of one of its lives."""

    accepted: int
    unconfirmed: int
    dropped: dict[str, int]


class Cluster:
    """The nodes, and what runs on them."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as RayCluster

        self._cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.address: str = self._cluster.address
        self._nodes = {kind: self._cluster.add_node(**has) for kind, has in KINDS.items()}

    def kill(self, kind: str) -> float:
        """Kill every process of a node; return the moment."""
        moment = time.monotonic()
        self._cluster.remove_node(self._nodes[kind], allow_graceful=False)
        return moment

    def replace(self, kind: str) -> None:
        """Add a node of the same kind."""
        self._nodes[kind] = self._cluster.add_node(**KINDS[kind])

    def close(self) -> None:
        self._cluster.shutdown()

    def running(self) -> dict[str, list[str]]:
        """Return what runs on each kind of node, of ours and Serve's proxies; ``gone`` is a node that was killed."""
        import ray

        kinds = {node.node_id: kind for kind, node in self._nodes.items()} | {self._cluster.head_node.node_id: "head"}
        found: dict[str, list[str]] = {kind: [] for kind in ("head", *KINDS, "gone")}
        for actor in ray._private.state.actors().values():
            title = f"{actor['ActorClassName']} {actor['Name']}"
            name = next((name for name in SHOWN if name in title), None)
            if name and actor["State"] == "ALIVE":
                found[kinds.get(actor["Address"]["NodeID"], "gone")].append(name)
        return {kind: sorted(names) for kind, names in found.items()}


class System:
    """The two applications on the cluster, and what they reported of each life of each camera."""

    def __init__(self, cluster: Cluster, folder: Path, bootstrap: str, grpc_port: int, http_port: int) -> None:
        self.cluster = cluster
        self.spool = folder / "spool"
        self.reported: dict[Epoch, LastLedger] = {}
        self._settings = folder / "sightline.yaml"
        self._grpc_port, self._http_port = grpc_port, http_port
        (folder / "cameras.yaml").write_text(yaml.safe_dump({"cameras": CAMERAS}))
        values = {
            "inference_service_url": f"127.0.0.1:{grpc_port}",
            "cameras": str(folder / "cameras.yaml"),
            "latency_budget_ms": 5000,  # the machine is small, and this is about nodes
            "kafka": {"bootstrap_servers": bootstrap, "topic": TOPIC},
            "spool": {"dir": str(self.spool), "pinned": True},
            "detector": {"gpus_per_replica": 1, "device": "cpu"},
            "state_dir": str(folder),
        }
        self._settings.write_text(yaml.safe_dump(values))

    def deploy(self) -> None:
        """Do what ``serve deploy serve_config.yaml`` does."""
        from ray import serve
        from ray.serve.context import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        config["http_options"]["port"], config["grpc_options"]["port"] = self._http_port, self._grpc_port
        for application in config["applications"]:
            application["args"]["settings"] = str(self._settings)
            for deployment in application["deployments"]:
                if deployment["name"] == "ObjectDetector":
                    deployment["autoscaling_config"]["max_replicas"] = 1  # there is one GPU
        serve.start(
            proxy_location=config["proxy_location"],
            http_options=config["http_options"],
            grpc_options=config["grpc_options"],
        )
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": config["applications"]}))

    def ask(self) -> None:
        """Note what each camera tells of itself; nothing while nobody answers."""
        from ray import serve

        with contextlib.suppress(Exception):  # whatever keeps the manager away, it is asked again
            reported = serve.get_app_handle("cameras").statuses.remote().result(timeout_s=3)
            for one in reported:
                dropped = {str(reason.value): count for reason, count in one.ledger.dropped.items() if count}
                self.reported[one.id, one.epoch] = LastLedger(one.ledger.accepted, one.ledger.unconfirmed, dropped)

    def dropped(self) -> Counter[str]:
        """Return the frames dropped so far, by reason, as far as they were reported."""
        every: Counter[str] = Counter()
        for reported in self.reported.values():
            every.update(reported.dropped)
        return every

    def settle(self, timeout_s: float) -> None:
        """Wait until everything is in its place."""
        try:
            wait_for(lambda: not self.misplaced(), timeout_s)
        except TimeoutError:
            raise TimeoutError(f"not in place: {self.misplaced()}; {self.cluster.running()}") from None

    def misplaced(self) -> list[str]:
        """Return what does not run where it is to; a camera that asks for ``edge`` must be on the edge's node."""
        running = self.cluster.running()
        wrong = [
            f"{name} on {kind}"
            for kind, names in running.items()
            for name in names
            if kind == "gone" or kind not in PLACES.get(name, {kind})
        ]
        missing = [name for name, kinds in PLACES.items() if not any(name in running[kind] for kind in kinds)]
        cameras = sum(names.count("CameraActor") for names in running.values())
        return (
            wrong
            + [f"no {name}" for name in missing]
            + ([] if "CameraActor" in running["edge"] else ["no camera on edge"])
            + ([] if cameras == len(CAMERAS) else [f"{cameras} cameras"])
        )


@contextlib.contextmanager
def system() -> Iterator[tuple[System, TopicFollower, str]]:
    """Run all of it."""
    import ray
    from ray import serve

    port, grpc_port, http_port = free_ports(3)
    with EmbeddedBroker(port=port) as broker, tempfile.TemporaryDirectory() as folder:
        make_topic(broker.address, TOPIC)
        follower = TopicFollower(broker.address, TOPIC)
        cluster = Cluster()
        try:
            ray.init(address=cluster.address, namespace="serve", log_to_driver=False)
            made = System(cluster, Path(folder), broker.address, grpc_port, http_port)
            made.deploy()
            yield made, follower, f"127.0.0.1:{grpc_port}"
            serve.shutdown()
        finally:
            follower.close()
            ray.shutdown()
            cluster.close()


def measure(kinds: list[str]) -> dict[str, Any]:
    """Kill a node of each kind, and tell what that did."""
    names = {camera["id"] for camera in CAMERAS}
    with system() as (made, follower, target):
        wait_for(lambda: {seen.camera_id for seen in follower.seen} >= names, 180, "an event of every camera")
        made.settle(30)
        at_first = made.cluster.running()
        with load(target, "load", cameras=2, fps=4, budget_ms=5000) as running:
            rows = [_killed(kind, made, follower, running) for kind in kinds]
        made.ask()
        verdict = judge("all", running.calls, follower)
        lacking = _lacking(made, follower)
        from ray import serve

        serve.delete("cameras")  # their last frames are settled
        at_rest = wait_for(lambda: _at_rest(made), 60, "an empty spool")
    return {
        "at_first": at_first,
        "rows": rows,
        "load": {
            "accepted": verdict.accepted,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "out_of_order": verdict.out_of_order,
        },
        "cameras_accepted": sum(reported.accepted for reported in made.reported.values()),
        "cameras_lacking": lacking,
        "accounts": at_rest,
    }


def _killed(kind: str, made: System, follower: TopicFollower, running: Load) -> dict[str, Any]:
    made.ask()
    there, dropped, calls = made.cluster.running()[kind], made.dropped(), len(running.calls)
    lives = set(made.reported)
    killed = made.cluster.kill(kind)
    made.cluster.replace(kind)
    made.settle(180)
    placed = time.monotonic()
    names = {camera["id"] for camera in CAMERAS}
    wait_for(
        lambda: made.ask() or {seen.camera_id for seen in follower.seen if seen.at > placed} >= names,
        120,
        f"events of all cameras after the death of {kind}",
    )
    made.ask()
    outages = _outages(follower, killed)
    return {
        "killed": kind,
        "ran_there": there,
        "cameras_anew": sorted(camera for camera, _ in set(made.reported) - lives),
        "interrupted": sorted(outages),
        "recovered_s": round(max(outages.values(), default=0.0), 1),
        "in_place_s": round(placed - killed, 1),
        "dropped": dict(made.dropped() - dropped),
        "load_refused": sum(not call.accepted for call in running.calls[calls:]),
    }


def _outages(follower: TopicFollower, killed: float) -> dict[str, float]:
    """Return when events came again, of each camera without one for longer than ``OUTAGE_S`` since the death."""
    found: dict[str, float] = {}
    for camera in {seen.camera_id for seen in follower.seen}:
        times = [seen.at for seen in follower.seen if seen.camera_id == camera and seen.at > killed - OUTAGE_S]
        ends = [later - killed for earlier, later in itertools.pairwise(times) if later - earlier > OUTAGE_S]
        if ends:
            found[camera] = max(ends)
    return found


def _lacking(made: System, follower: TopicFollower) -> dict[str, int]:
    """Return what accepted events of the cameras' lives the topic lacks."""
    reported = dict(made.reported)

    def lacking() -> dict[str, int]:
        have: Counter[Epoch] = Counter()
        have.update({(seen.camera_id, seen.epoch): 0 for seen in follower.seen})
        for camera, epoch, _ in {(seen.camera_id, seen.epoch, seen.sequence) for seen in follower.seen}:
            have[camera, epoch] += 1
        return {
            f"{camera} in {epoch}": one.accepted - have[camera, epoch]
            for (camera, epoch), one in reported.items()
            if one.accepted > have[camera, epoch]
        }

    with contextlib.suppress(TimeoutError):
        wait_for(lambda: not lacking(), 30, "the accepted events of the cameras")
    return lacking()


def _at_rest(made: System) -> dict[str, int]:
    accounts = read_accounts(made.spool)
    spooled = accounts.accepted - accounts.published - accounts.quarantined - accounts.discarded
    return {} if spooled else {"accepted": accounts.accepted, "published": accounts.published, "spooled": spooled}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", action="append", choices=KINDS, help="which nodes are killed; none named: all")
    arguments = parser.parse_args()
    # As shipped.
    os.environ.update({name: TUNED[name] for name in ("RAY_health_check_period_ms", "RAY_worker_niceness")})
    with apart():
        print(json.dumps(measure(arguments.kind or list(KINDS))))


if __name__ == "__main__":
    main()
