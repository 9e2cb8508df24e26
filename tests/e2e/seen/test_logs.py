"""What a running system writes into its logs: one JSON object a line, with the camera it is about."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for
from tests.support.watched_system import SOURCE, STEADY, Watched

SERVE_LOGS = Path("session_latest/logs/serve")


def lines(watched: Watched, pattern: str) -> list[dict[str, Any]]:
    """Return the lines of the files of a process, each of which must be a JSON object."""
    return [
        json.loads(line)
        for file in sorted((watched.ray / SERVE_LOGS).glob(pattern))
        for line in file.read_text().splitlines()
    ]


def test_every_camera_writes_a_file_of_lines_that_name_it(watched: Watched):
    for camera in (STEADY, SOURCE):
        written = wait_for(lambda camera=camera: lines(watched, f"camera_{camera}.log"), 60, f"lines of {camera}")
        assert any(line["message"] == f"camera {camera} is live" for line in written)
        assert all(line["camera_id"] == camera for line in written)
        assert all(line["levelname"] and line["asctime"] for line in written)


def test_publisher_replicas_and_broker_write_theirs_beside_them(watched: Watched):
    wait_for(
        lambda: any("events go to topic" in line["message"] for line in lines(watched, "publisher_*.log")),
        60,
        "the publisher's line",
    )
    detector = lines(watched, "replica_inference_ObjectDetector_*.log")
    assert any("ready on" in line["message"] for line in detector)
    manager = lines(watched, "replica_cameras_CameraManager_*.log")
    assert {line.get("camera_id") for line in manager} >= {STEADY, SOURCE}


def test_a_frame_is_no_line_of_any_log(watched: Watched):
    before = watched.camera(STEADY)["ledger"]["accepted"]
    wait_for(lambda: watched.camera(STEADY)["ledger"]["accepted"] >= before + 5, 60, "five frames more")
    written = "\n".join(file.read_text() for file in (watched.ray / SERVE_LOGS).glob("*.log"))
    assert "ready on" in written
    assert re.findall(r".*\b(?:Detect|detect)\b.*\b[\d.]+ms.*", written) == []


def test_nothing_is_traced_while_tracing_is_off(watched: Watched):
    assert watched.status()["cameras"]
    assert not (watched.ray / SERVE_LOGS / "spans").exists()
