"""The images, built and run: any user id of group 0, a read-only root, no capability, no home."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cameras import Service
from tests.support.containers import USER, build, container, inside, missing, status_of_process_1
from tests.support.topic import TopicReader
from tests.support.waiting import until

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "all tools are there")]
NO_CAPABILITY = "0" * 16
NO_HOME = "/nonexistent"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    serving = Service()
    await serving.start()
    yield serving
    await serving.kill()


def is_hardened(name: str) -> None:
    """Check that a container has what was asked for: or the test would show nothing."""
    status = status_of_process_1(name)
    assert status["Uid"].split() == [str(USER)] * 4
    assert status["Gid"].split() == ["0"] * 4
    assert {status[field] for field in ("CapEff", "CapPrm", "CapBnd")} == {NO_CAPABILITY}
    assert status["NoNewPrivs"] == "1"
    assert "Read-only file system" in inside(name, "touch", "/opt/x").stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_edge_image_runs_with_nothing_but_its_state_volume_and_tmp(tmp_path: Path, service: Service):
    image = build("edge")
    asked = ("--id", "gate", "--url", "synthetic://street?seed=7&width=320&height=192", "--fps", "5")
    with container(image, tmp_path / "state", *asked, "--service", f"127.0.0.1:{service.port}", HOME=NO_HOME) as (
        process,
        name,
    ):
        await until(lambda: len(service.requests) >= 10 or process.has_ended, 120)
        assert not process.has_ended, process.output
        is_hardened(name)
        assert process.interrupt(number=signal.SIGTERM) == 0
    assert {request.camera_id for request in service.requests} == {"gate"}
    assert re.search(r"gate: \d+ sampled = \d+ accepted .* \+ 0 in flight", process.output), process.output
    assert "Traceback" not in process.output
    epochs = tmp_path / "state" / "epochs"
    assert epochs.stat().st_uid == USER


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_service_s_image_runs_so_too_says_what_it_misses_and_stops_cleanly(tmp_path: Path):
    image = build("service")
    state = tmp_path / "state"
    with container(image, state, HOME=NO_HOME) as (process, name):
        line = process.wait_for_line("in another shell", 180)
        assert "RAY_AUTH_TOKEN_PATH=/var/lib/sightline/ray_auth_token" in line
        assert "the home directory, where Ray keeps it, cannot be written" in line
        reader = TopicReader(process.wait_for_broker(state / "broker.json"), "events.detections")
        records = reader.read(lambda read: len(read) >= 40 and len({one.key for one in read}) == 2, 300)
        reader.close()
        is_hardened(name)
        ray = ("env", "RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN_PATH=/var/lib/sightline/ray_auth_token")
        asked = inside(name, *ray, "serve", "status")
        assert "RUNNING" in asked.stdout, asked.stdout + asked.stderr
        printed = len(process.output)
        assert process.interrupt(number=signal.SIGTERM) == 0
        said = process.output[printed:]
    closing = re.search(r"sightline: stopped; events published: (\d+), waiting in the spool: 0", said)
    assert closing is not None, said
    assert int(closing[1]) >= len(records)
    assert "Traceback" not in process.output
    assert "object store" not in process.output  # Ray's warning where /dev/shm is too small for it
