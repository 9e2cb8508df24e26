"""The commands that ask the running system."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import pytest

from tests.support.command import Done
from tests.support.command import call as call_command
from tests.support.faults import Network
from tests.support.watched_system import SOURCE, STEADY, Watched


def call(watched: Watched, *arguments: str) -> Done:
    return call_command(*arguments, "--config", str(watched.config))


@pytest.fixture(autouse=True)
def both_live(watched: Watched) -> None:
    for camera in (STEADY, SOURCE):
        watched.wait_for_state(camera, "live")


def test_status_is_one_screen_of_everything(watched: Watched, network: Network):
    done = call(watched, "status")
    assert (done.returncode, done.stderr) == (0, "")
    for word in (
        STEADY,
        SOURCE,
        "live",
        "2/s",
        "inference",
        "to Kafka",
        "ObjectDetector 1",
        "queue",
        "spool",
        network.bootstrap,
    ):
        assert word in done.stdout
    assert len(done.stdout.splitlines()) <= 24


def test_status_for_programs_is_one_json_document(watched: Watched):
    done = call(watched, "status", "--json")
    assert done.returncode == 0
    reported = json.loads(done.stdout)
    assert {camera["id"] for camera in reported["cameras"]} == {STEADY, SOURCE}
    counts = reported["publisher"]
    assert counts["accepted"] == (
        counts["published"] + reported["spool"]["events"] + counts["quarantined"] + counts["discarded"]
    )


def test_cameras_are_listed_for_people_and_for_programs(watched: Watched):
    reported = call(watched, "cameras", "list")
    assert (reported.returncode, reported.stderr) == (0, "")
    assert STEADY in reported.stdout
    lines = call(watched, "cameras", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [STEADY, SOURCE]


def test_a_snapshot_is_a_picture_with_the_boxes_of_its_own_frame(watched: Watched, tmp_path: Path):
    out = tmp_path / "seen.jpg"
    done = call(watched, "snapshot", STEADY, "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert "objects" in done.stdout
    assert cv2.imread(str(out)).shape == (360, 640, 3)


def test_a_snapshot_for_programs_is_one_json_document(watched: Watched, tmp_path: Path):
    out = tmp_path / "seen.jpg"
    done = call(watched, "snapshot", STEADY, "--out", str(out), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    reported = json.loads(done.stdout)
    assert (reported["path"], reported["camera_id"]) == (str(out), STEADY)
    assert reported["frame_id"]


def test_a_video_plays_and_shows_different_frames(watched: Watched, tmp_path: Path):
    out = tmp_path / "seen.mp4"
    done = call(watched, "video", STEADY, "--seconds", "4", "--out", str(out), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    reported = json.loads(done.stdout)
    with av.open(str(out)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        assert reported == {"path": str(out), "camera_id": STEADY, "frames": len(frames), "seconds": 4.0}
        assert len(frames) >= 3
        assert 1 <= float(container.duration or 0) / 1e6 <= 6
    assert any((frames[0] != frame).mean() > 0.001 for frame in frames[1:])


@pytest.mark.parametrize(
    "arguments", [("snapshot", "nobody", "--out", "x.jpg"), ("video", "nobody", "--out", "x.mp4"), ("video", STEADY)]
)
def test_a_camera_that_is_not_there_and_a_call_without_a_file_are_mistakes(
    watched: Watched, arguments: tuple[str, ...]
):
    done = call(watched, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert STEADY in done.stderr or "--out" in done.stderr


def test_a_file_that_cannot_be_written_is_one_line(watched: Watched, tmp_path: Path):
    for command in ("snapshot", "video"):
        suffix = "jpg" if command == "snapshot" else "mp4"
        length = ("--seconds", "1") if command == "video" else ()
        done = call(watched, command, STEADY, *length, "--out", str(tmp_path / "nowhere" / f"x.{suffix}"))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
