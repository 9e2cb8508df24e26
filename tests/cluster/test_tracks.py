"""Ids of tracks in a running system: of the answers and of the events, and over ``kill -9`` of every process.

Frames of a simulated street are 200 ms apart by their capture times. A frame is sent until it is accepted, so that the
camera has no gap, however long a process takes to come back.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.simulation.spec import StreetSpec
from app.simulation.street import GroundTruth, Street
from tests.support.ray_cluster import Service, processes
from tests.support.topic import TopicReader
from tests.support.waiting import wait_for

KILLS = int(os.environ.get("TRACK_KILLS", "3"))
"""Of each process; 20 in the recorded result."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 40 * KILLS)]

STREET = Street(StreetSpec(seed=7))
STEP, INTERVAL_NS = 5, 200_000_000
"""Of 25 frames a second every fifth."""
BETWEEN = 8
"""Frames from one kill to the next."""
PATIENCE_S = 60.0
VICTIMS = {
    "publisher": "ray::KafkaPublisher",
    "ingress": "ray::ServeReplica:inference:DetectionIngress",
    "detector": "ray::ServeReplica:inference:ObjectDetector",
}


def send(service: Service, camera: str, number: int, began_ns: int) -> None:
    """Send a frame until it is accepted."""
    image = cv2.imencode(".jpg", STREET.frame(number * STEP).image)[1].tobytes()
    at_ns = began_ns + number * INTERVAL_NS
    request = pb.DetectRequest(
        camera_id=camera, frame_id=f"{number}", image=image, epoch=1, sequence=number + 1,
        captured_at=Timestamp(seconds=at_ns // 10**9, nanos=at_ns % 10**9),
    )  # fmt: skip
    wait_for(lambda: service.code(request) is grpc.StatusCode.OK, PATIENCE_S, f"an answer to frame {number}")


def events_of(topic: TopicReader, camera: str, count: int) -> list[dict[str, Any]]:
    """Return a camera's events, each once, in the order of the topic."""
    found: dict[str, dict[str, Any]] = {}
    records = topic.read(lambda read: len({one.value["event_id"] for one in read if one.key == camera}) >= count)
    for record in records:
        if record.key == camera:
            found.setdefault(record.value["event_id"], record.value)
    return list(found.values())


@dataclass(frozen=True)
class Continuity:
    """What the ids of a camera's events say of the road users that were there."""

    users: Mapping[int, set[int]]
    """Road users of each id."""
    kept: int
    changed: int

    @classmethod
    def of(cls, events: Sequence[dict[str, Any]]) -> Continuity:
        """Compare each event with the one before."""
        users: defaultdict[int, set[int]] = defaultdict(set)
        kept = changed = 0
        before: dict[int, int] = {}
        for event in events:
            now = dict(identified(STREET.frame(int(event["frame_id"]) * STEP).truth, event["detections"]))
            for user, track_id in now.items():
                users[track_id].add(user)
                if user in before:
                    kept += before[user] == track_id
                    changed += before[user] != track_id
            before = now
        return cls(users, kept, changed)


def identified(truth: GroundTruth, detections: Sequence[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Yield the road users that were detected and have an id, and that."""
    for box, user, visible in zip(truth.boxes, truth.identities.tolist(), truth.visible.tolist(), strict=True):
        found = max(detections, key=lambda one: overlap(box, one["bbox"]), default=None)
        if found and found["track_id"] is not None and visible >= 0.7 and overlap(box, found["bbox"]) >= 0.6:
            yield user, found["track_id"]


def overlap(box: np.ndarray, bbox: Sequence[float]) -> float:
    x, y, width, height = bbox
    wide = max(0.0, min(box[2], x + width) - max(box[0], x))
    high = max(0.0, min(box[3], y + height) - max(box[1], y))
    both = wide * high
    return float(both / ((box[2] - box[0]) * (box[3] - box[1]) + width * height - both))


def test_an_answer_has_the_ids_of_its_event(service: Service, topic: TopicReader):
    began_ns = time.time_ns() - 60 * 10**9
    answers = []
    for number in range(6):
        at_ns = began_ns + number * INTERVAL_NS
        image = cv2.imencode(".jpg", STREET.frame(number * STEP).image)[1].tobytes()
        stamp = Timestamp(seconds=at_ns // 10**9, nanos=at_ns % 10**9)
        request = pb.DetectRequest(camera_id="answered", frame_id=f"{number}", image=image, captured_at=stamp)
        answers.append(service.detect(request))
    events = events_of(topic, "answered", len(answers))
    for answer, event in zip(answers, events, strict=True):
        given = [one.track_id if one.HasField("track_id") else None for one in answer.detections]
        assert given == [one["track_id"] for one in event["detections"]]
    assert any(one["track_id"] for one in events[-1]["detections"])


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_process_that_is_killed_again_and_again_costs_no_id(service: Service, topic: TopicReader, victim: str):
    began_ns, camera = time.time_ns() - 300 * 10**9, f"killed-{victim}"
    for number in range((KILLS + 1) * BETWEEN):
        if number % BETWEEN == 0 and number:
            killed = processes(VICTIMS[victim])
            assert killed
            for process in killed:
                os.kill(process, signal.SIGKILL)
        send(service, camera, number, began_ns)
    seen = Continuity.of(events_of(topic, camera, (KILLS + 1) * BETWEEN))
    print(f"\n{victim}, {KILLS} kills: {seen.kept} kept, {seen.changed} changed, {len(seen.users)} ids")
    assert [users for users in seen.users.values() if len(users) > 1] == []
    assert seen.kept > 20
    assert seen.kept >= 0.95 * (seen.kept + seen.changed)
