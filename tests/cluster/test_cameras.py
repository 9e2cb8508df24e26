"""The camera manager on a local cluster: cameras that live, die and are born again."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray import serve

from app.cameras import CameraState, CameraStatus
from app.core.ports import free_port
from deployments.graph import CamerasArgs, build_cameras
from tests.support.ray_cluster import Service, processes
from tests.support.table import Table
from tests.support.topic import Record, TopicReader
from tests.support.waiting import wait_for

CAMERAS = """
cameras:
  - {id: steady, url: "synthetic://street?seed=7&width=640&height=360", fps: 4}
  - {id: small, url: "synthetic://street?seed=11&width=640&height=360", fps: 2, max_side: 320}
  - {id: gone, url: "/nowhere/clip.mp4"}
"""


class Manager:
    """The deployed camera manager, as a test asks it."""

    def __init__(self, http: str, application: str = "cameras") -> None:
        self._handle = serve.get_app_handle(application)
        self.http = http

    def statuses(self) -> dict[str, CameraStatus]:
        """Return each camera's status by id."""
        return {status.id: status for status in self._handle.statuses.remote().result(timeout_s=30)}

    def status(self, camera_id: str) -> CameraStatus:
        """Return one camera's status; on a busy machine it may take a while to answer."""
        return wait_for(lambda: self.statuses().get(camera_id), 30, f"an answer of {camera_id}")

    def health(self) -> Any:
        return self._handle.health.remote().result(timeout_s=30)


@pytest.fixture(scope="module")
def manager(
    service: Service, http_port: int, write_settings: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Manager]:
    file = tmp_path_factory.mktemp("cameras") / "cameras.yaml"
    file.write_text(CAMERAS)
    settings = write_settings(inference_service_url=service.target, cameras=str(file), latency_budget_ms=2000)
    serve.run(build_cameras(CamerasArgs(settings=settings)), name="cameras", route_prefix="/")
    made = Manager(f"http://127.0.0.1:{http_port}")
    wait_for(lambda: len(made.statuses()) == 3, 60, "three cameras")
    yield made
    with contextlib.suppress(Exception):
        serve.delete("cameras")


def test_every_camera_s_frames_become_events_in_the_source_s_own_size(manager: Manager, topic: TopicReader):
    def both(read) -> bool:
        return all(sum(one.key == key for one in read) >= 3 for key in ("steady", "small"))

    records = topic.read(both, 90)
    for key in ("steady", "small"):
        frames = [one.value for one in records if one.key == key]
        assert all(frame["frame"] == {"width": 640, "height": 360} for frame in frames)
        numbers = [tuple(map(int, frame["frame_id"].split("-"))) for frame in frames]  # (epoch, frame of the source)
        assert numbers == sorted(numbers)


def test_every_ledger_balances_while_frames_flow(manager: Manager):
    wait_for(lambda: manager.status("steady").ledger.accepted >= 3, 60, "accepted frames")
    for status in manager.statuses().values():
        assert status.ledger.balanced


def test_a_camera_whose_source_is_not_there_says_why_and_does_not_disturb_the_others(manager: Manager):
    status = wait_for(
        lambda: next((s for s in [manager.status("gone")] if s.state is CameraState.OFFLINE), None),
        60,
        "the state offline",
    )
    assert "/nowhere/clip.mp4" in status.url
    assert status.reason
    assert manager.status("steady").state is CameraState.LIVE


def test_readiness_names_the_camera_that_is_not_live(manager: Manager):
    wait_for(lambda: manager.status("gone").state is CameraState.OFFLINE, 60, "the state offline")
    answer = httpx.get(f"{manager.http}/readyz", timeout=30)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert any("gone" in reason for reason in answer.json()["reasons"])
    assert not any("steady" in reason for reason in answer.json()["reasons"])
    assert httpx.get(f"{manager.http}/healthz", timeout=30).status_code == 200


def test_a_camera_whose_process_is_killed_is_back_with_its_id_in_a_new_epoch(manager: Manager):
    before = manager.statuses()
    killed = processes("ray::CameraActor")
    assert len(killed) == 3
    for process in killed:
        os.kill(process, signal.SIGKILL)

    def reborn() -> bool:
        now = manager.statuses()
        return set(now) == set(before) and all(now[name].epoch > before[name].epoch for name in before)

    wait_for(reborn, 60, "new epochs")
    wait_for(lambda: manager.status("steady").ledger.accepted > 0, 60, "accepted frames in the new epoch")


@pytest.mark.slow
def test_a_camera_whose_process_dies_is_back_within_seconds_and_its_neighbour_keeps_its_rate(
    service: Service, topic: TopicReader, write_settings: Callable[..., Path], table: Table
):
    """Measured from the kill to the capture of the first frame whose event is on the topic."""
    strangers = set(processes("ray::CameraActor"))
    street = "synthetic://street?seed=7&width=640&height=360"
    began = time.monotonic()
    with deployed("pair", write_settings, service.target, f"one={street},other={street}") as pair:
        wait_for(lambda: all(pair.status(name).ledger.accepted for name in ("one", "other")), 60, "accepted frames")
        start_s = time.monotonic() - began
        before, at = pair.statuses(), time.monotonic()
        killed_at = time.time()
        os.kill(next(number for number in processes("ray::CameraActor") if number not in strangers), signal.SIGKILL)
        event = topic.read(lambda read: bool(read) and is_reborn(read[-1], before), 60)[-1]
        back_s = event.timestamp_ms / 1000 - killed_at
        table.write([f"A killed camera actor gave its next event's frame after {back_s:.1f} s."])
        # One process starts again, after a pause of half a second at most: on any machine that takes less than starting
        # the whole application took just now. Where that was fast, the machine may be busy now.
        assert back_s < min(20, max(5, start_s))
        (neighbour,) = {"one", "other"} - {event.key}
        wait_for(lambda: time.monotonic() - at > 10, 30, "ten seconds")
        after, seconds = pair.status(neighbour), time.monotonic() - at
        assert after.epoch == before[neighbour].epoch
        sampled = after.ledger.sampled - before[neighbour].ledger.sampled
        # A neighbour held up for the death, as long as that lasted, would lack half or more; a busy machine takes some.
        assert sampled == pytest.approx(after.fps_asked * seconds, rel=0.25)


def is_reborn(record: Record, before: dict[str, CameraStatus]) -> bool:
    return record.key in before and int(record.value["frame_id"].split("-")[0]) > before[record.key].epoch


@pytest.mark.slow
def test_a_camera_whose_service_is_not_there_is_live_and_blocked_and_readiness_says_so(
    write_settings: Callable[..., Path], cluster: None
):
    with deployed("alone", write_settings, f"127.0.0.1:{free_port()}", "lonely=synthetic://street?seed=7") as alone:
        wait_for(lambda: alone.status("lonely").blocked, 60, "a block")
        status = alone.status("lonely")
        assert (status.state, status.reconnects) == (CameraState.LIVE, 0)
        assert any(
            reason.startswith("camera lonely is blocked: the service is away") for reason in alone.health().reasons
        )


@contextlib.contextmanager
def deployed(name: str, write_settings: Callable[..., Path], target: str, cameras: str) -> Iterator[Manager]:
    """Run a camera application of one test's own."""
    settings = write_settings(inference_service_url=target, cameras=cameras, inference_fps=4, latency_budget_ms=2000)
    serve.run(build_cameras(CamerasArgs(settings=settings)), name=name, route_prefix=f"/{name}")
    try:
        yield Manager("", name)
    finally:
        serve.delete(name)


def test_when_the_application_is_deleted_no_camera_is_left(manager: Manager):
    serve.delete("cameras")
    wait_for(lambda: not processes("ray::CameraActor"), 60, "the end of the camera actors")
