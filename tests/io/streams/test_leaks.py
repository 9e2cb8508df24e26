"""Opening a stream again and again costs nothing that stays."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cameras.camera import CameraTiming
from tests.support.http_server import HttpServer
from tests.support.rows import Rows
from tests.support.rtsp_server import RtspServer
from tests.support.waiting import wait_for
from tests.support.watched import Watched

AT_ONCE = CameraTiming(reopen_first_s=0.005, reopen_max_s=0.01)
WARM_UP, TIMES, MORE_TIMES = 30, 50, 200
KINDS = {
    "rtsp": "RTSP over TCP",
    "rtsp over udp": "RTSP over UDP",
    "mjpeg": "MJPEG over HTTP",
    "a camera that refuses": "RTSP over TCP",
}
TRIED = dict.fromkeys(KINDS, "opened and broken") | {"a camera that refuses": "refused"}
MOST_GROWTH_BYTES = {TIMES: 5_000_000, MORE_TIMES: 15_000_000}
"""Below 0.1 MB a time: a decoder or a connection that stays costs more. Measured: below 3 MB over 200 times."""


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@contextlib.contextmanager
def served(kind: str) -> Iterator[str]:
    """Serve a stream that is reset after its third picture; its address."""
    if kind == "mjpeg":
        with HttpServer(fps=200) as web:
            web.breaks_after = 3
            yield web.url()
        return
    with RtspServer(fps=200, breaks_after=3) as server:
        if kind == "a camera that refuses":
            server.go_away()
        yield server.url(query="transport=udp" if kind == "rtsp over udp" else "")


def settled(threads: int, files: int) -> bool:
    return threading.active_count() <= threads and open_files() <= files


@pytest.mark.parametrize("times", [TIMES, pytest.param(MORE_TIMES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_opening_a_stream_again_and_again_leaks_nothing(kind: str, times: int, rows: Rows):
    with served(kind) as url:
        files, threads = open_files(), threading.active_count()
        with Watched(url, fps=100, timing=AT_ONCE) as camera:
            camera.until(lambda: camera.status().reconnects >= WARM_UP)
            before = resident_bytes()
            camera.until(lambda: camera.status().reconnects >= WARM_UP + times)
            grown = resident_bytes() - before
            assert kind == "a camera that refuses" or len(camera.sent) > times
        wait_for(lambda: settled(threads, files), 10, f"as few threads and files as before, {threads} and {files}")
    assert grown < MOST_GROWTH_BYTES[times]
    rows.add(KINDS[kind], f"{TRIED[kind]} {times} times", f"{grown / 1e6:+.1f} MB; no thread and no file more")


def test_a_camera_stopped_while_its_source_hangs_leaves_nothing_behind():
    with RtspServer(hangs_at="DESCRIBE") as server:
        files, threads = open_files(), threading.active_count()
        with Watched(server.url()):
            wait_for(lambda: server.connections == 1, 10, "a connection")
        wait_for(lambda: not capturing(), 10, "the end of the capture thread, while the server still hangs")
        server.reset()
        wait_for(lambda: settled(threads, files), 10, f"as few threads and files as before, {threads} and {files}")


def capturing() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("capture-")]
