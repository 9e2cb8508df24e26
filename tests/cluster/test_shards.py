"""Two publishers that share the cameras: each camera's order, one shard's death, and another number of shards."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
import ray
from ray import serve

from app.core.event import make_event_id
from app.publisher import PublisherSnapshot, read_accounts, shard_of
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from deployments.graph import InferenceArgs, build_inference_without_model
from tests.support.ray_cluster import Service
from tests.support.topic import Record, TopicReader
from tests.support.waiting import wait_for

NAME, TOPIC = "sharded", "events.sharded"
CAMERAS = [f"gate-{number}" for number in range(6)]
GREY = cv2.imencode(".jpg", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
CAPTURED_NS = time.time_ns()


@dataclass
class Cameras:
    """Cameras that ask one frame after the other, and remember which ones were answered ``OK``."""

    service: Service
    accepted: dict[str, list[int]] = field(default_factory=lambda: {camera: [] for camera in CAMERAS})
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAMERAS, 0))

    def ask(self, camera: str, sequence: int | None = None) -> tuple[grpc.StatusCode, str]:
        if sequence is None:
            sequence = self.asked[camera] = self.asked[camera] + 1
        request = pb.DetectRequest(
            camera_id=camera, frame_id=str(sequence), image=GREY, epoch=1, sequence=sequence, latency_budget_ms=30_000
        )
        request.captured_at.FromNanoseconds(CAPTURED_NS + sequence)
        code, details = self.service.answer(request, application=NAME)
        if code is grpc.StatusCode.OK and sequence not in self.accepted[camera]:
            self.accepted[camera].append(sequence)
        return code, details

    def of(self, shard: int) -> list[str]:
        return [camera for camera in CAMERAS if shard_of(camera, 2) == shard]


def deploy(settings: Path) -> None:
    application = build_inference_without_model(InferenceArgs(settings=settings))
    serve.run(application, name=NAME, route_prefix=f"/{NAME}")


def snapshot() -> PublisherSnapshot:
    handle = serve.get_app_handle(NAME)
    answer: PublisherSnapshot = handle.publisher_snapshot.remote().result(timeout_s=30)
    return answer


def process_of(shard: str) -> int:
    (name,) = [one for one in ray.util.list_named_actors() if NAME in one and one.endswith(f"publisher-{shard}")]
    actor: Any = ray.get_actor(name)
    process: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    return process


def cameras_in(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "spool.db") as database:
        return {row[0] for row in database.execute("SELECT camera_id FROM camera")}


@pytest.fixture
def settings_of(write_settings: Callable[..., Path], broker: str, tmp_path: Path) -> Callable[[int], Path]:
    def write(shards: int) -> Path:
        return write_settings(
            kafka={"bootstrap_servers": [broker], "topic": TOPIC, "create_topic": True, "partitions": 4},
            spool={"dir": str(tmp_path / "spool")},
            publisher={"shards": shards},
        )

    return write


@pytest.fixture
def cameras(cluster: None, grpc_port: int, settings_of: Callable[[int], Path]) -> Iterator[Cameras]:
    deploy(settings_of(2))
    service = Service(f"127.0.0.1:{grpc_port}")
    service.wait_until_it_detects(NAME)
    yield Cameras(service)
    serve.delete(NAME)


@pytest.mark.slow
def test_a_shard_s_death_costs_the_other_s_cameras_nothing_and_no_change_of_their_number_costs_an_event(
    cameras: Cameras, settings_of: Callable[[int], Path], broker: str, tmp_path: Path
):
    lost, spared = cameras.of(0), cameras.of(1)
    assert lost
    assert spared
    for _ in range(5):
        for camera in CAMERAS:
            assert cameras.ask(camera)[0] is grpc.StatusCode.OK
    spool = tmp_path / "spool"
    assert cameras_in(spool / "shard-1-of-2") == set(lost)
    assert cameras_in(spool / "shard-2-of-2") == set(spared)

    # One stands still, with a frame in its hands: the other's cameras are answered meanwhile.
    victim = process_of("1-of-2")
    os.kill(victim, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        stuck: Future[tuple[grpc.StatusCode, str]] = pool.submit(cameras.ask, lost[0])
        for _ in range(2):
            for camera in spared:
                assert cameras.ask(camera)[0] is grpc.StatusCode.OK
        assert not stuck.done()
        os.kill(victim, signal.SIGKILL)
        assert stuck.result()[0] is grpc.StatusCode.UNAVAILABLE
    away = wait_for(lambda: (now := snapshot()).away and now, what="a snapshot that tells of the shard that is away")
    assert away.away == (1,)
    assert away.trouble.startswith("publisher 1 of 2: ")
    for camera in spared:
        assert cameras.ask(camera)[0] is grpc.StatusCode.OK
    for camera in lost:
        wait_for(lambda camera=camera: cameras.ask(camera)[0] is grpc.StatusCode.OK, what=f"an answer to {camera}")

    # All of it came into the topic, and the ledgers of both shards add up to it.
    settled = wait_for(lambda: (now := snapshot()).spooled == 0 and now, what="an empty spool")
    assert settled.away == ()
    assert settled.accepted == settled.published >= sum(map(len, cameras.accepted.values()))

    # One publisher takes over from two: it knows what they accepted, and goes on where they ended.
    deploy(settings_of(1))
    cameras.service.wait_until_it_detects(NAME)
    for camera in CAMERAS:
        last = cameras.asked[camera]
        wait_for(lambda camera=camera: cameras.ask(camera)[0] is grpc.StatusCode.OK, what=f"an answer to {camera}")
        assert cameras.ask(camera, sequence=last)[0] is grpc.StatusCode.OK  # the same frame again: known, not published
    assert not list(spool.glob("shard-*"))
    wait_for(lambda: snapshot().spooled == 0, what="an empty spool")
    accounts = read_accounts(spool)
    assert accounts.accepted == accounts.published
    check_topic(TopicReader(broker, TOPIC), cameras)


def check_topic(topic: TopicReader, cameras: Cameras) -> None:
    """See that all is there that was answered ``OK``, and each camera's events in its order."""
    wanted = {(camera, frame) for camera, frames in cameras.accepted.items() for frame in frames}
    records = topic.read(lambda found: wanted <= {(one.key, int(one.value["frame_id"])) for one in ours(found)})
    topic.close()
    for camera in CAMERAS:
        frames = [int(one.value["frame_id"]) for one in ours(records) if one.key == camera]
        once = list(dict.fromkeys(frames))  # what a publisher's death cut off may be there twice, under one id
        assert once == sorted(once)
        ids = {one.value["event_id"] for one in ours(records) if one.key == camera}
        assert ids == {make_event_id(camera, str(frame), CAPTURED_NS + frame) for frame in once}


def ours(records: list[Record]) -> list[Record]:
    return [record for record in records if record.key in CAMERAS]
