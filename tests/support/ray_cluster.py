"""One local Ray cluster with Serve, one embedded broker, and the inference application, for all tests here.

They end with the last of these tests: whatever runs on would take its share of the machine from the tests that follow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest

from app.cli.up import TUNED
from app.core.ports import free_port
from tests.support.topic import TopicReader
from tests.support.waiting import wait_for

# Ray reads these when it is imported or started.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray lowers its workers' priority by default: beside another test they would starve, and fail their health checks.
os.environ.setdefault("RAY_worker_niceness", TUNED["RAY_worker_niceness"])
os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", TUNED["RAY_task_events_max_num_task_in_gcs"])

import ray
import yaml
from ray import serve

from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.rpc.sightline.inference.v1 import inference_pb2_grpc as pb_grpc
from deployments.graph import InferenceArgs, build_inference
from tests.support.paths import ROOT

TOPIC = "events.detections"
MARK = f"INTEGRATION_TESTS_OF={os.getpid()}"
"""In the environment of every process of our cluster, and of no other's."""


@dataclass(frozen=True)
class Service:
    """Where the cluster's gRPC endpoint is, and how to ask it."""

    target: str

    def detect(
        self, request: pb.DetectRequest, application: str = "inference", token: str | None = None
    ) -> pb.DetectResponse:
        """Ask as any client would: the stub, and the metadata ``application``."""
        metadata = [("application", application)]
        if token is not None:
            metadata.append(("authorization", f"Bearer {token}"))
        with grpc.insecure_channel(self.target) as channel:
            return pb_grpc.InferenceServiceStub(channel).Detect(request, metadata=metadata, timeout=30)

    def code(self, request: pb.DetectRequest, **how: str | None) -> grpc.StatusCode:
        """Ask, and return the status code."""
        return self.answer(request, **how)[0]

    def answer(self, request: pb.DetectRequest, **how: str | None) -> tuple[grpc.StatusCode, str]:
        """Ask, and return the status code and its details."""
        try:
            self.detect(request, **how)
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, ""

    def wait_until_it_detects(self, application: str = "inference", token: str | None = None) -> None:
        """Wait until Serve routes to an application and its ingress has found a detector replica."""
        grey = cv2.imencode(".jpg", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
        probe = pb.DetectRequest(camera_id="probe", image=grey)

        def reaches_a_detector() -> bool:
            code, details = self.answer(probe, application=application, token=token)
            routed = code not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED)
            return routed and (code is not grpc.StatusCode.UNAVAILABLE or "spool" in details)

        wait_for(reaches_a_detector, what=f"a detector of {application}")


@pytest.fixture(scope="package")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="package")
def http_port() -> int:
    return free_port()


@pytest.fixture(scope="package")
def cluster(grpc_port: int, http_port: int) -> Iterator[None]:
    """A local Ray cluster with Serve on free ports."""
    os.environ.update([MARK.split("=")])
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, namespace="serve")
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    serve.start(
        http_options={"host": "127.0.0.1", "port": http_port},
        grpc_options={**config["grpc_options"], "port": grpc_port},
    )
    yield
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="package")
def write_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a settings file."""

    def write(**values: object) -> Path:
        folder = tmp_path_factory.mktemp("settings")
        path = folder / "sightline.yaml"
        path.write_text(yaml.safe_dump({"spool": {"dir": str(folder / "spool")}, "state_dir": str(folder), **values}))
        return path

    return write


@pytest.fixture(scope="package")
def service(cluster: None, broker: str, grpc_port: int, write_settings: Callable[..., Path]) -> Iterator[Service]:
    """The inference application, as shipped but with the session's broker."""
    settings = write_settings(
        kafka={"bootstrap_servers": [broker], "topic": TOPIC, "create_topic": True, "partitions": 4}
    )
    serve.run(build_inference(InferenceArgs(settings=settings)), name="inference", route_prefix="/inference")
    ready = Service(f"127.0.0.1:{grpc_port}")
    ready.wait_until_it_detects()
    yield ready
    serve.delete("inference")


@pytest.fixture
def topic(service: Service, broker: str) -> Iterator[TopicReader]:
    """The topic, read from its start by an independent client."""
    reader = TopicReader(broker, TOPIC)
    yield reader
    reader.close()


def processes(title: str) -> list[int]:
    """Return the processes of this test's own cluster with a title."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            titled = process.name.isdigit() and (process / "cmdline").read_bytes().startswith(title.encode())
            if titled and MARK.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found
