"""Changes while frames flow: thresholds and model by ``user_config``, everything else by a new revision."""

from __future__ import annotations

import copy
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Any

import cv2
import grpc
import pytest
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.paths import DEMO_MODEL
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from tests.support.paths import ROOT
from tests.support.ray_cluster import MARK, Service
from tests.support.topic import TopicReader
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
NAME, TOPIC = "rolling", "events.rolling"
CALLERS = 3


@dataclass(frozen=True)
class Answer:
    at: float
    took_s: float
    code: grpc.StatusCode
    said: pb.DetectResponse | str


class Rolling:
    """The shipped inference application under another name, deployed as ``serve deploy`` does it."""

    def __init__(self, service: Service, settings: Path) -> None:
        self._service = service
        config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        self._application = next(each for each in config["applications"] if each["name"] == "inference")
        self._application.update(name=NAME, route_prefix=f"/{NAME}")
        self._application["args"]["settings"] = str(settings)
        self.deploy()
        service.wait_until_it_detects(NAME)

    def deploy(
        self, user_config: dict[str, Any] | None = None, settings: Path | None = None, max_replicas: int = 1
    ) -> None:
        application = copy.deepcopy(self._application)
        detector = next(each for each in application["deployments"] if each["name"] == "ObjectDetector")
        detector["autoscaling_config"]["max_replicas"] = max_replicas
        if user_config is not None:
            detector["user_config"] = user_config
        if settings is not None:
            application["args"]["settings"] = str(settings)
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}))

    def detectors(self) -> int:
        states = serve.status().applications[NAME].deployments["ObjectDetector"].replica_states
        return sum(count for state, count in states.items() if state == "RUNNING")

    def is_settled(self) -> bool:
        application = serve.status().applications[NAME]
        return application.status == "RUNNING" and all(
            deployment.status == "HEALTHY" for deployment in application.deployments.values()
        )

    def processes(self, deployment: str) -> set[str]:
        """The processes of a deployment's replicas, by number and age: a new one with an old number is another."""
        found = set()
        for process in Path("/proc").iterdir():
            try:
                titled = process.name.isdigit() and (process / "cmdline").read_bytes().startswith(
                    f"ray::ServeReplica:{NAME}:{deployment}".encode()
                )
                if titled and MARK.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.add(f"{process.name}-{(process / 'stat').read_text().rsplit(')', 1)[1].split()[19]}")
            except OSError:
                continue
        return found


class Load:
    """Callers that ask one frame after the other, until they are reported to stop."""

    def __init__(self, service: Service) -> None:
        picture = Street(StreetSpec(seed=7)).frame(50).image
        self._image = cv2.imencode(".jpg", picture)[1].tobytes()
        self._service = service
        self._enough = threading.Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self.answers: list[Answer] = []
        self._callers = [self._pool.submit(self._call, number) for number in range(CALLERS)]

    def _call(self, number: int) -> None:
        while not self._enough.wait(0.05):
            began = time.monotonic()
            try:
                said: pb.DetectResponse | str = self._service.detect(
                    pb.DetectRequest(camera_id=f"caller-{number}", image=self._image), NAME
                )
                code = grpc.StatusCode.OK
            except grpc.RpcError as error:
                code, said = error.code(), error.details()
            ended = time.monotonic()
            self.answers.append(Answer(ended, ended - began, code, said))

    def wait_for_answers(self, right: Callable[[pb.DetectResponse], bool], what: str) -> None:
        """Wait until a frame asked from now on is answered so."""
        since = time.monotonic()
        wait_for(
            lambda: any(
                answer.at - answer.took_s > since and not isinstance(answer.said, str) and right(answer.said)
                for answer in self.answers[-20:]
            ),
            90,
            what,
        )

    def stop(self) -> list[Answer]:
        self._enough.set()
        for caller in self._callers:
            caller.result()
        self._pool.shutdown()
        return self.answers


@pytest.fixture(scope="module")
def settings(write_settings: Callable[..., Path], broker: str) -> Path:
    return write_settings(kafka={"bootstrap_servers": [broker], "topic": TOPIC, "create_topic": True, "partitions": 4})


@pytest.fixture(scope="module")
def rolling(service: Service, settings: Path) -> Iterator[Rolling]:
    yield Rolling(service, settings)
    serve.delete(NAME)


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """The bundled model under another name, without its export."""
    return Path(shutil.copy(DEMO_MODEL, tmp_path / "other.pt"))


@pytest.fixture
def topic_of_rolling(rolling: Rolling, broker: str) -> Iterator[TopicReader]:
    reader = TopicReader(broker, TOPIC)
    yield reader
    reader.close()


@pytest.fixture
def load(rolling: Rolling, service: Service) -> Iterator[Load]:
    rolling.deploy()
    wait_for(rolling.is_settled, 120, "the application as it is shipped")
    made = Load(service)
    made.wait_for_answers(lambda said: len(said.detections) > 0, "objects")
    yield made
    made.stop()


def labels(said: pb.DetectResponse) -> set[str]:
    return {seen.label for seen in said.detections}


def reported(answers: list[Answer], what: str) -> None:
    waits = sorted(answer.took_s for answer in answers)
    moments = sorted(answer.at for answer in answers if answer.code is grpc.StatusCode.OK)
    gap = max(later - earlier for earlier, later in pairwise(moments))
    codes = Counter((answer.code.name, answer.said if isinstance(answer.said, str) else "") for answer in answers)
    print(
        f"\n{what}: {dict(codes)}, half within "
        f"{waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s, longest time without an answer {gap:.2f} s"
    )


def test_thresholds_change_under_load_without_a_restart_and_without_a_frame_that_fails(rolling: Rolling, load: Load):
    before = rolling.processes("ObjectDetector")
    rolling.deploy({"classes": ["person"], "confidence": 0.4})
    load.wait_for_answers(lambda said: labels(said) == {"person"}, "people only")

    rolling.deploy({"classes": ["dragon"]})  # refused in one line of the log; what serves goes on
    rolling.deploy({"confidence": 7})
    wait_for(rolling.is_settled, what="Serve to be content")
    load.wait_for_answers(lambda said: labels(said) == {"person"}, "people only, as before")

    rolling.deploy()
    load.wait_for_answers(lambda said: len(labels(said)) > 1, "everything again")
    answers = load.stop()
    reported(answers, "thresholds changed")
    assert {answer.code for answer in answers} == {grpc.StatusCode.OK}
    assert rolling.processes("ObjectDetector") == before
    assert len(before) == 1


def test_a_new_model_takes_over_under_load_in_the_replica_that_serves(
    rolling: Rolling, load: Load, topic_of_rolling: TopicReader, other_model: Path
):
    before = rolling.processes("ObjectDetector")
    rolling.deploy({"model": str(other_model.with_name("away.pt"))})  # one line of the log; what serves goes on
    rolling.deploy({"model": str(other_model)})
    load.wait_for_answers(lambda said: said.model == "other.pt", "an answer of the new model")
    rolling.deploy()
    load.wait_for_answers(lambda said: said.model == "street.pt", "an answer of the model before")
    answers = load.stop()
    reported(answers, "new model by user_config, and back")
    assert {answer.code for answer in answers} == {grpc.StatusCode.OK}
    assert rolling.processes("ObjectDetector") == before
    every_event_names_the_model_that_answered(answers, topic_of_rolling)


def test_frames_that_never_left_their_camera_bring_another_replica(rolling: Rolling, service: Service):
    """One frame in a hundred arrives: few calls, no queue, and yet 500 frames a second are offered."""
    rolling.deploy(max_replicas=2)
    wait_for(rolling.is_settled, 120, "the application with room for two")
    assert rolling.detectors() == 1
    picture = Street(StreetSpec(seed=7)).frame(50).image
    image = cv2.imencode(".jpg", picture)[1].tobytes()
    epoch = time.time_ns()
    sequences = chain((1, 2), count(102, 100))
    began = time.monotonic()

    def another_answers() -> bool:
        service.detect(pb.DetectRequest(camera_id="hurried", image=image, epoch=epoch, sequence=next(sequences)), NAME)
        time.sleep(0.2)
        return rolling.detectors() == 2

    wait_for(another_answers, 60, "a second replica")
    print(f"\na second replica serves {time.monotonic() - began:.1f} s after the first frame")


def test_a_new_revision_of_all_settings_replaces_every_replica_and_loses_no_accepted_frame(
    rolling: Rolling, load: Load, settings: Path, topic_of_rolling: TopicReader, other_model: Path, tmp_path: Path
):
    before = rolling.processes("ObjectDetector") | rolling.processes("DetectionIngress")
    changed = tmp_path / "settings.yaml"
    values = yaml.safe_load(settings.read_text())
    changed.write_text(yaml.safe_dump({**values, "detector": {"model": str(other_model)}}))
    began = time.monotonic()
    rolling.deploy(settings=changed)
    load.wait_for_answers(lambda said: said.model == "other.pt", "an answer of the new model")
    first = time.monotonic()
    wait_for(rolling.is_settled, what="Serve to be content")
    load.wait_for_answers(lambda said: said.model == "other.pt", "an answer of the new model")
    answers = load.stop()
    reported(answers, f"new revision, its first answer after {first - began:.1f} s")
    assert {answer.code for answer in answers} == {grpc.StatusCode.OK}
    assert not before & (rolling.processes("ObjectDetector") | rolling.processes("DetectionIngress"))
    every_event_names_the_model_that_answered(answers, topic_of_rolling)


def every_event_names_the_model_that_answered(answers: list[Answer], topic: TopicReader) -> None:
    accepted = {answer.said.event_id: answer.said.model for answer in answers if not isinstance(answer.said, str)}
    events = topic.read(lambda records: accepted.keys() <= {each.value["event_id"] for each in records})
    published = {each.value["event_id"]: each.value["model"] for each in events}
    assert {name: published[name] for name in accepted} == accepted
    assert set(accepted.values()) == {"street.pt", "other.pt"}
