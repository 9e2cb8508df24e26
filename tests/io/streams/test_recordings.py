"""Recordings as the world makes them: over HTTP, rotated, cut, joined, and with poor timestamps."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import pytest

from app.cameras import CameraState
from app.cameras.camera import CameraTiming
from app.cameras.sampling import EvenGrid
from app.cameras.sources import FrameTime, open_source
from app.errors import SourceEnded
from app.settings.source_url import SourceUrl
from tests.support import http_server
from tests.support.cameras import ManualClock
from tests.support.http_server import HttpServer
from tests.support.numbered import read
from tests.support.recordings import picked, stamps_at, write_recording
from tests.support.rows import Rows
from tests.support.watched import Watched

STAMPS = stamps_at(Fraction(25), 3.0)
QUICK = CameraTiming(reopen_first_s=0.1, reopen_max_s=0.2)


def whole(url: str) -> tuple[list[FrameTime], list[int]]:
    """Read a recording to its end, without waiting."""
    source = open_source(SourceUrl.parse(f"{url}?loop=false"), 5, ManualClock().clock())
    timings, numbers = [], []
    source.open()
    with pytest.raises(SourceEnded):  # noqa: PT012 - any of the grabs may end it
        while (timing := source.grab()) is not None:
            timings.append(timing)
            numbers.append(read(source.retrieve().image))
    source.close()
    return timings, numbers


def sampled(timings: list[FrameTime], numbers: list[int], fps: int) -> list[int]:
    grid = EvenGrid(fps)
    return [number for timing, number in zip(timings, numbers, strict=True) if grid.takes(timing.time_s)]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi", "v.webm"])
def test_a_video_file_over_http_is_sampled_as_from_the_disk(tmp_path: Path, name: str, rows: Rows):
    codec = {"avi": "mjpeg", "webm": "libvpx-vp9"}.get(name[2:], "libx264")
    write_recording(tmp_path / name, STAMPS, codec)
    with HttpServer(tmp_path) as server:
        timings, numbers = whole(server.url(f"files/{name}"))
    assert numbers == list(range(len(STAMPS)))
    assert sampled(timings, numbers, 7) == picked(STAMPS, 7)
    rows.add("video file over HTTP", "MP4, MKV, TS, AVI, WebM", "sampled as from the disk")


@pytest.mark.idle
def test_a_video_file_over_http_loops(tmp_path: Path):
    write_recording(tmp_path / "v.mp4", STAMPS[:10])
    with HttpServer(tmp_path) as server, Watched(server.url("files/v.mp4"), fps=25) as camera:
        camera.until(lambda: len(camera.sent) > 25)
        assert camera.status().reconnects == 0


@pytest.mark.idle
@pytest.mark.parametrize("trouble", [http_server.says_nothing, http_server.is_missing])
def test_a_video_file_whose_server_fails_is_opened_again(tmp_path: Path, trouble, rows: Rows):
    write_recording(tmp_path / "v.mp4", STAMPS[:10])
    with HttpServer(tmp_path) as server, Watched(server.url("files/v.mp4"), fps=25, timing=QUICK) as camera:
        camera.until_live()
        server.trouble = trouble
        camera.until_down()
        assert all(reason for state, reason in camera.history if state is CameraState.RECONNECTING)
        server.trouble = None
        assert camera.until_live() < 10
    rows.add("video file over HTTP", "its server says nothing, or 404", "opened again; live within 10 s of its return")


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_rotation_is_honoured(tmp_path: Path, name: str, rotation: int, rows: Rows):
    file = write_recording(tmp_path / name, STAMPS[:3], rotation=rotation)
    source = open_source(SourceUrl.parse(str(file)), 5, ManualClock().clock())
    source.open()
    for _ in range(3):
        timing = source.grab()
    assert timing is not None
    image = source.retrieve().image
    source.close()
    assert image.shape == ((160, 96, 3) if rotation in (90, -90) else (96, 160, 3))
    # Picture 2 is dark but for its second block of the upper row; turned left by 90 it is in the left column.
    corner = {0: (24, 30), 90: (130, 24), 180: (72, 130), -90: (30, 72)}[rotation]
    assert image[corner].mean() > 200
    assert image.mean() < 50
    rows.add("video file", "rotation metadata", "honoured")


def test_joined_recordings_whose_timestamps_start_over_are_shown_one_after_the_other(tmp_path: Path, rows: Rows):
    one = write_recording(tmp_path / "one.ts", STAMPS).read_bytes()
    (tmp_path / "both.ts").write_bytes(one + one)
    timings, numbers = whole(str(tmp_path / "both.ts"))
    times = [timing.time_s for timing in timings]
    assert numbers == [*range(len(STAMPS))] * 2
    assert times == sorted(times)
    assert times[-1] == pytest.approx(2 * len(STAMPS) / 25, abs=0.2)
    assert len(sampled(timings, numbers, 5)) == pytest.approx(30, abs=1)
    rows.add("video file", "timestamps start over, jump by an hour, or lack", "shown at its rate")


def test_a_recording_whose_timestamps_jump_by_an_hour_goes_on_at_once(tmp_path: Path):
    jumping = [*STAMPS, *(stamp + 3600 for stamp in STAMPS)]
    timings, numbers = whole(str(write_recording(tmp_path / "v.mkv", jumping)))
    assert numbers == list(range(len(jumping)))
    assert timings[-1].time_s == pytest.approx(len(jumping) / 25, abs=0.2)


def test_a_recording_without_timestamps_is_shown_at_its_rate(tmp_path: Path):
    file = write_recording(tmp_path / "v.mkv", STAMPS)
    raw = tmp_path / "v.h264"
    with av.open(str(file)) as source, av.open(str(raw), "w", format="h264") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    timings, numbers = whole(str(raw))
    assert numbers == list(range(len(STAMPS)))
    assert timings[-1].time_s == pytest.approx(float(STAMPS[-1]), abs=0.1)


@pytest.mark.parametrize("name", ["v.mkv", "v.ts", "v.avi"])
def test_a_recording_that_was_cut_off_is_shown_as_far_as_it_goes(tmp_path: Path, name: str, rows: Rows):
    file = write_recording(tmp_path / name, STAMPS, "mpeg4" if name == "v.avi" else "libx264")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    _, numbers = whole(str(file))
    assert numbers[:-1] == list(range(len(numbers) - 1))  # of the last picture, a part may be left
    assert 30 < len(numbers) < len(STAMPS)
    rows.add("video file", "cut off", "shown as far as it goes")


def test_a_recording_with_a_change_of_size_is_followed(tmp_path: Path, rows: Rows):
    small = write_recording(tmp_path / "one.ts", STAMPS).read_bytes()
    large = write_recording(tmp_path / "two.ts", STAMPS, size=(320, 192)).read_bytes()
    (tmp_path / "both.ts").write_bytes(small + large)
    _, numbers = whole(str(tmp_path / "both.ts"))
    assert numbers == [*range(len(STAMPS))] * 2
    rows.add("video file", "its resolution changes", "followed")


@pytest.mark.idle
def test_a_recording_in_real_time_is_paced_by_its_timestamps(tmp_path: Path):
    file = write_recording(tmp_path / "v.mp4", stamps_at(Fraction(25), 3.0))
    with Watched(f"{file}?loop=false", fps=5) as camera:
        camera.until(lambda: camera.state is CameraState.ENDED)
    gaps = [b.at - a.at for a, b in itertools.pairwise(camera.sent)]
    # On a busy machine a frame may come late, and what is late is left out.
    assert max(gaps) > 0.3 or [sent.number for sent in camera.sent] == picked(stamps_at(Fraction(25), 3.0), 5)
    first, last = camera.sent[0], camera.sent[-1]
    assert last.number >= 60
    assert last.at - first.at == pytest.approx((last.number - first.number) / 25, abs=1.0)
