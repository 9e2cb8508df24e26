"""Cameras that are added, changed and removed while the system runs, on a local cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import cv2
import grpc
import numpy as np
import pytest

from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from tests.support.inside import actor_classes
from tests.support.ray_cluster import Service, processes
from tests.support.runtime_cameras import STEADY_FPS, STREET, Cameras, listed
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
MANAGER = "ray::ServeReplica:cameras:CameraManager"


def balanced(ledger: Mapping[str, Any]) -> bool:
    settled = ledger["accepted"] + sum(ledger["dropped"].values()) + ledger["unconfirmed"] + ledger["in_flight"]
    return bool(ledger["sampled"] == settled)


def test_cameras_come_change_and_go_while_the_others_lose_nothing_and_so_they_stay_after_a_restart(cameras: Cameras):
    before, began, classes = cameras.all()["steady"], time.monotonic(), actor_classes()

    cameras.ask("POST", expect=201, id="added", url=STREET, fps=3)
    added = cameras.working("steady", "yard", "added")["added"]
    cameras.ask("PUT", "/added", url=added["settings"]["url"], fps=1)
    changed = cameras.working("steady", "yard", "added")["added"]
    assert changed["epoch"] > added["epoch"]
    assert changed["fps_asked"] == 1

    cameras.write(steady=STEADY_FPS, yard=1, gate=2)  # the file is followed
    cameras.wait_for_fps("yard", 1)
    followed = cameras.working("steady", "yard", "added", "gate")
    assert followed["yard"]["origin"] == "configured"
    assert followed["added"]["epoch"] == changed["epoch"]

    cameras.deploy(cameras=listed(steady=STEADY_FPS, yard=1, gate=3))
    cameras.wait_for_fps("gate", 3)
    deployed = cameras.working("steady", "yard", "added", "gate")
    touched = {name for name, one in deployed.items() if one["epoch"] != followed[name]["epoch"]}
    assert touched == {"gate"}

    for removed in ("yard", "gate"):
        last_word = cameras.ask("DELETE", f"/{removed}")["ledger"]
        assert balanced(last_word)
        assert last_word["in_flight"] == 0

    after, seconds = cameras.working("steady", "added")["steady"], time.monotonic() - began
    assert (after["epoch"], after["restarts"], after["reconnects"]) == (before["epoch"], 0, 0)
    assert balanced(after["ledger"])
    assert after["ledger"]["dropped"]["shutdown"] == 0
    assert actor_classes() == classes  # however many cameras are made
    sampled = after["ledger"]["sampled"] - before["ledger"]["sampled"]
    assert sampled == pytest.approx(STEADY_FPS * seconds, rel=0.1, abs=STEADY_FPS * 2)

    (manager,) = processes(MANAGER)
    os.kill(manager, signal.SIGKILL)
    wait_for(lambda: manager not in processes(MANAGER), 30, "the manager's end")
    reborn = cameras.working("steady", "added")
    assert reborn["steady"]["epoch"] > after["epoch"]
    assert (reborn["added"]["origin"], reborn["added"]["fps_asked"]) == ("added", 1)


def test_a_camera_of_which_a_clock_that_was_ahead_left_an_epoch_of_the_future_is_accepted_within_ten_seconds(
    cameras: Cameras, service: Service
):
    future = time.time_ns() // 1_000_000 + 8 * 3_600_000
    picture = cv2.imencode(".jpg", np.full((180, 320, 3), 90, np.uint8))[1].tobytes()
    service.detect(pb.DetectRequest(camera_id="ahead", image=picture, epoch=future, sequence=9))
    cameras.ask("POST", expect=201, id="ahead", url=STREET, fps=5)

    def counts(name: str) -> int:
        ledger = cameras.all().get("ahead", {}).get("ledger") or {"accepted": 0, "dropped": {"out_of_order": 0}}
        return int(ledger["accepted"] if name == "accepted" else ledger["dropped"][name])

    wait_for(lambda: counts("out_of_order") > 0, 60, "a refused frame")
    wait_for(lambda: counts("accepted") > 0, 10, "an accepted frame")
    with pytest.raises(grpc.RpcError) as refusal:
        service.detect(pb.DetectRequest(camera_id="ahead", image=picture, epoch=future, sequence=99))
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    cameras.ask("DELETE", "/ahead")


def test_another_budget_reaches_every_camera_and_restarts_none(cameras: Cameras):
    before = cameras.all()

    def late() -> dict[str, int]:
        return {name: one["ledger"]["dropped"]["deadline"] for name, one in cameras.all().items()}

    usual = late()
    cameras.deploy(latency_budget_ms=1)
    wait_for(lambda: all(late().get(name, 0) >= usual[name] + 2 for name in usual), 60, "frames that are too late")
    cameras.deploy(latency_budget_ms="much")  # refused in one line of the log
    cameras.deploy()
    accepted = {name: one["ledger"]["accepted"] for name, one in cameras.all().items()}
    wait_for(
        lambda: all(one["ledger"]["accepted"] >= accepted[name] + 2 for name, one in cameras.all().items()),
        60,
        "frames that are in time again",
    )
    after = cameras.all()
    assert {name: one["epoch"] for name, one in after.items()} == {name: one["epoch"] for name, one in before.items()}
    assert all(balanced(one["ledger"]) for one in after.values())
