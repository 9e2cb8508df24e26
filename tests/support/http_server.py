"""HttpServer: serves files, MJPEG and every kind of trouble, each at its own path."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from av.container import OutputContainer

from tests.support.accounts import Account
from tests.support.numbered import HEIGHT, WIDTH, draw

_RESET = struct.pack("ii", 1, 0)


class HttpServer:
    """One real HTTP server on a free port; a test gives and changes its behaviour at any time.

    ``/live`` is MJPEG with the numbers from 0 for each client, ``/live.ts`` the same
    as MPEG-TS with sound, ``/files/NAME`` a file of ``folder``. While
    ``trouble`` is set, every request meets it instead, and streams under way end. With ``breaks_after`` each
    stream is reset after so many pictures.
    """

    def __init__(self, folder: Path | None = None, fps: float = 25.0) -> None:
        self.folder = folder
        self.fps = fps
        self.size = (WIDTH, HEIGHT)
        self.stalled = False
        self.breaks_after = 0
        self.trouble: Callable[[_Request], None] | None = None
        self.account: Account | None = None
        self.answers: dict[str, Callable[[_Request], None]] = {}
        """What is answered at a path, before everything but troubles and accounts."""
        self.keeps_alive = False
        """Whether it speaks HTTP/1.1; set before it listens."""
        self.connected = 0
        """Connections so far."""
        self.over = threading.Event()
        self.port = 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self._requests: set[_Request] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> HttpServer:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.go_away()

    def url(self, path: str = "live", user: str = "", password: str = "") -> str:
        account = f"{user}:{password}@" if user else ""
        return f"http://{account}127.0.0.1:{self.port}/{path}"

    def listen(self) -> None:
        """Begin to listen; after ``go_away``, on the same port again."""

        class Handler(_Request):
            home = self
            protocol_version = "HTTP/1.1" if self.keeps_alive else "HTTP/1.0"

        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        server.block_on_close = False
        self.port = server.server_port
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def go_away(self) -> None:
        """Refuse connections, and reset those that are."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        self.reset()

    def reset(self) -> None:
        """Reset every connection; new ones are welcome."""
        for request in self._present():
            request.reset()

    def _present(self) -> list[_Request]:
        with self._lock:
            return list(self._requests)

    def entered(self, request: _Request) -> None:
        with self._lock:
            self.connected += 1
            self._requests.add(request)

    def left(self, request: _Request) -> None:
        with self._lock:
            self._requests.discard(request)


class _Unseekable:
    """A file to which one can only write: FFmpeg must not look for its beginning."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(data)
        return len(data)


class _Request(http.server.BaseHTTPRequestHandler):
    home: HttpServer

    def setup(self) -> None:
        self.cut = threading.Event()
        super().setup()
        self.home.entered(self)

    def finish(self) -> None:
        self.home.left(self)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def reset(self) -> None:
        self.cut.set()
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.shutdown(socket.SHUT_RD)
            self.connection.close()

    def do_GET(self) -> None:
        account = self.home.account
        if self.home.trouble is not None:
            self.home.trouble(self)
        elif account is not None and not account.allows("GET", self.headers.get("Authorization", "")):
            self.send_response(401)
            self.send_header("WWW-Authenticate", account.challenge())
            self.end_headers()
        elif self.path.partition("?")[0] in self.home.answers:
            self.home.answers[self.path.partition("?")[0]](self)
        elif self.path.startswith("/files/"):
            self._send_file()
        elif self.path == "/live.ts":
            self._send_transport_stream()
        else:
            self._send_mjpeg()

    def _send_file(self) -> None:
        assert self.home.folder is not None
        data = (self.home.folder / self.path.removeprefix("/files/")).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def _send_mjpeg(self) -> None:
        self.mjpeg_header()
        began = time.monotonic()
        number = 0
        while not self.cut.wait(max(0.0, began + number / self.home.fps - time.monotonic())):
            if self.home.trouble is not None:
                return
            if not self.home.stalled:
                self.send_part(number)
            number += 1
            if number == self.home.breaks_after:
                self.reset()

    def _send_transport_stream(self) -> None:
        """Send MPEG-TS with pictures and sound, as they are made; while it is stalled, the sound goes on alone."""
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        options = {"max_interleave_delta": "1"}  # else the sound would wait for the pictures that do not come
        out = _Unseekable(self.wfile)
        with contextlib.suppress(av.FFmpegError), av.open(out, "w", format="mpegts", options=options) as container:
            self._fill(container)

    def _fill(self, container: OutputContainer) -> None:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = *self.home.size, "yuv420p"
        video.codec_context.gop_size = 25
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        silence = np.zeros((1, 1920), np.float32)
        began = time.monotonic()
        for number in itertools.count():
            if self.cut.wait(max(0.0, began + number / 25 - time.monotonic())):
                return
            if not self.home.stalled:
                picture = av.VideoFrame.from_ndarray(draw(number, *self.home.size), format="bgr24")
                picture.pts, picture.time_base = number, Fraction(1, 25)
                container.mux(video.encode(picture))
            sound = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, number * 1920, Fraction(1, 48_000)
            container.mux(audio.encode(sound))

    def mjpeg_header(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()

    def send_part(self, number: int) -> None:
        data = cv2.imencode(".jpg", draw(number, *self.home.size))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


def says_nothing(request: _Request) -> None:
    """Accept, read the request, and say nothing."""
    _hold(request)


def hangs_after_its_header(request: _Request) -> None:
    """Promise MJPEG, and send none."""
    request.mjpeg_header()
    _hold(request)


def hangs_within_a_picture(request: _Request) -> None:
    """Send pictures, then half of one."""
    request.mjpeg_header()
    for number in range(10):
        request.send_part(number)
    request.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\n\xff\xd8\xff")
    _hold(request)


def sends_garbage(request: _Request) -> None:
    """Answer with bytes that are no video, without end."""
    request.send_response(200)
    request.send_header("Content-Type", "video/mp4")
    request.end_headers()
    while not request.cut.wait(0.002):
        request.wfile.write(bytes(range(256)) * 64)


def sends_garbage_parts(request: _Request) -> None:
    """Send multipart whose parts are no pictures."""
    request.mjpeg_header()
    while not request.cut.wait(0.01):
        request.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 64\r\n\r\n" + bytes(64) + b"\r\n")


def is_a_snapshot(request: _Request) -> None:
    """Answer with one picture, as the snapshot address of a camera does."""
    data = cv2.imencode(".jpg", draw(5, *request.home.size))[1].tobytes()
    request.send_response(200)
    request.send_header("Content-Type", "image/jpeg")
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)


def is_missing(request: _Request) -> None:
    """Answer 404."""
    request.send_error(404)


def fails(request: _Request) -> None:
    """Answer 503."""
    request.send_error(503)


def _hold(request: _Request) -> None:
    while request.home.trouble is not None and not request.cut.wait(0.05):
        if request.home.over.is_set():
            return
