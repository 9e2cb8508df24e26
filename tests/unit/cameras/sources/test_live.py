from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from app.cameras.sources import FrameTime, open_source
from app.cameras.sources.live import LiveSource
from app.cameras.sources.timeouts import Timeouts
from app.core.clock import Clock
from app.errors import SourceUnavailable
from app.settings.source_url import SourceUrl
from tests.support.cameras import drain, grey, write_video

SECRET = "hunter2"
Body = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def http_server(body: Body) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                body(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def mjpeg(frames: int, every_s: float, then_s: float = 0.0) -> Body:
    def body(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        for number in range(frames):
            data = cv2.imencode(".jpg", grey(number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            request.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(every_s)
        time.sleep(then_s)

    return body


def test_an_mjpeg_stream_is_timed_by_arrival_and_its_end_is_a_failure():
    with http_server(mjpeg(12, 0.1)) as port:
        source = open_source(SourceUrl.parse(f"http://127.0.0.1:{port}/video"), 5, Clock())
        source.open()
        assert source.live
        timings: list[FrameTime] = []
        shapes = set()
        with pytest.raises(SourceUnavailable, match=r"ended|stopped"):
            drain(source, timings, lambda _: shapes.add(source.retrieve().image.shape))
        assert shapes == {(48, 64, 3)}
        source.close()
    assert [timing.index for timing in timings] == list(range(len(timings)))
    assert len(timings) >= 8
    # FFmpeg would count 25 a second; ten came at most, fewer where the machine is busy.
    assert timings[-1].time_s - timings[3].time_s >= 0.06 * (len(timings) - 4)


def test_a_video_file_over_http_is_a_recording_and_loops(tmp_path: Path):
    data = write_video(tmp_path / "v.mkv", [0, 40, 80], [grey(100)] * 3).read_bytes()

    def body(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    with http_server(body) as port:
        source = open_source(SourceUrl.parse(f"http://127.0.0.1:{port}/v.mkv"), 5, Clock())
        source.open()
        assert not source.live
        numbers = [source.grab().index for _ in range(7)]
        assert numbers == sorted(set(numbers))  # on a busy machine one may be late, and is left out
        assert numbers[-1] >= 6
        source.close()


def test_a_stream_that_goes_silent_is_given_up():
    with http_server(mjpeg(30, 0.01, then_s=20)) as port:
        source = LiveSource(SourceUrl.parse(f"http://127.0.0.1:{port}/video"), Clock(), Timeouts(4.0, 1.0, 20.0))
        source.open()
        seen: list[FrameTime] = []
        began = time.monotonic()
        with pytest.raises(SourceUnavailable):
            drain(source, seen)
        assert seen
        assert time.monotonic() - began < 8
        source.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_source_that_refuses_tells_why_without_its_password(scheme: str):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        url = SourceUrl.parse(f"{scheme}://viewer:{SECRET}@127.0.0.1:{port}/live?token={SECRET}")
        source = open_source(url, 5, Clock())
        with pytest.raises(SourceUnavailable) as caught:
            source.open()
        source.close()
    assert "refused" in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_denies_access_tells_so_without_the_password():
    with http_server(lambda request: request.send_error(401)) as port:
        source = open_source(SourceUrl.parse(f"http://viewer:{SECRET}@127.0.0.1:{port}/live"), 5, Clock())
        with pytest.raises(SourceUnavailable) as caught:
            source.open()
    assert "authorization" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_device_that_is_not_there_is_unavailable():
    source = open_source(SourceUrl.parse("device://97"), 5, Clock())
    with pytest.raises(SourceUnavailable, match="cannot be opened"):
        source.open()
    source.close()
