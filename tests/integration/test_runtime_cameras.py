"""Cameras that are added, changed and removed while the system runs, on a local cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from tests.conftest import wait_for
from tests.integration.conftest import Service
from tests.integration.inside import actor_classes
from tests.integration.test_cameras import processes

STREET = "synthetic://street?seed=7&width=640&height=360"
STEADY_FPS = 4
MANAGER = "ray::ServeReplica:cameras:CameraManager"


def listed(**fps: float) -> list[dict[str, object]]:
    """Give cameras as a cameras file lists them."""
    return [{"id": camera_id, "url": STREET, "fps": rate} for camera_id, rate in fps.items()]


class Cameras:
    """The HTTP API, as a program asks it."""

    def __init__(self, address: str, file: Path, settings: Path) -> None:
        self._address = f"{address}/api/v1/cameras"
        self._file = file
        self._settings = settings

    def deploy(self, **user_config: object) -> None:
        """Do what ``serve deploy`` has Serve do."""
        application = {
            "name": "cameras",
            "route_prefix": "/",
            "import_path": "deployments.graph:build_cameras",
            "args": {"settings": str(self._settings)},
            "deployments": [{"name": "CameraManager", "user_config": user_config}],
        }
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}))

    def ask(self, method: str, path: str = "", expect: int = 200, **body: object) -> Any:
        answer = httpx.request(method, self._address + path, json=body or None, timeout=40)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def all(self) -> dict[str, dict[str, Any]]:
        """Give every camera; none while nobody answers."""
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            return {camera["id"]: camera for camera in self.ask("GET")}
        return {}

    def working(self, *ids: str, timeout_s: float = 90) -> dict[str, dict[str, Any]]:
        """Wait until there are these cameras and no others, and frames of each are accepted."""

        def all_work() -> dict[str, dict[str, Any]]:
            now = self.all()
            works = set(now) == set(ids) and all((one["ledger"] or {}).get("accepted") for one in now.values())
            return now if works else {}

        return wait_for(all_work, timeout_s, f"accepted frames of {', '.join(ids)}")

    def wait_for_fps(self, camera_id: str, fps: float) -> None:
        """Wait until a camera runs as it is to."""
        wait_for(lambda: self.all().get(camera_id, {}).get("fps_asked") == fps, 60, f"{fps} fps of {camera_id}")

    def write(self, **fps: float) -> None:
        """Write the cameras file."""
        self._file.write_text(yaml.safe_dump({"cameras": listed(**fps)}))


@pytest.fixture
def cameras(service: Service, http_port: int, write_settings: Callable[..., Path], tmp_path: Path) -> Iterator[Cameras]:
    file = tmp_path / "cameras.yaml"
    settings = write_settings(inference_service_url=service.target, cameras=str(file), latency_budget_ms=5000)
    made = Cameras(f"http://127.0.0.1:{http_port}", file, settings)
    made.write(steady=STEADY_FPS, yard=2)
    made.deploy()
    made.working("steady", "yard")
    yield made
    with contextlib.suppress(Exception):
        serve.delete("cameras")


def balanced(ledger: Mapping[str, Any]) -> bool:
    settled = ledger["accepted"] + sum(ledger["dropped"].values()) + ledger["unconfirmed"] + ledger["in_flight"]
    return bool(ledger["sampled"] == settled)


@pytest.mark.slow
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
