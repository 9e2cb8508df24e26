"""Real object stores for tests, and a proxy in front of them that fails as it is told."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import logging
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from app.settings.evidence import EvidenceSettings
from tests.support.waiting import wait_for

KEY, SECRET = "AKIAEVIDENCE", "a-secret-of-the-tests"
CARGO = Path(os.environ.get("CARGO_INSTALL_ROOT") or os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "bin"
"""Where cargo installs programs, unless it is told another folder."""
S3S = shutil.which("s3s-fs") or shutil.which("s3s-fs", path=str(CARGO))
"""``cargo install s3s-fs@0.14.1 --features binary``."""


def settings_of(endpoint: str, bucket: str = "evidence", secret: str = SECRET) -> EvidenceSettings:
    """Return settings that name a store."""
    return EvidenceSettings(
        url=f"s3://{bucket}/north", endpoint_url=endpoint, access_key_id=KEY, secret_access_key=secret
    )


class Inspector:
    """Reads a store beside the code under test."""

    def __init__(self, endpoint: str, bucket: str = "evidence") -> None:
        config = {"endpoint": endpoint, "access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1"}
        self._store = S3Store(bucket, config=config, client_options={"allow_http": True})

    def read(self, link: str) -> bytes | None:
        """Return what an address ``s3://evidence/…`` leads to; ``None``: nothing."""
        try:
            return bytes(obstore.get(self._store, link.split("/", 3)[3]).bytes())
        except FileNotFoundError:
            return None

    def links(self) -> set[str]:
        """Return the addresses ``s3://evidence/…`` of all that is stored, by one request for each thousand."""
        return {f"s3://evidence/{one['path']}" for batch in obstore.list(self._store) for one in batch}


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """Run moto's server with a bucket; yield its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request("PUT", "/evidence")
        assert connection.getresponse().status == 200
        connection.close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextlib.contextmanager
def s3s(root: Path) -> Iterator[str]:
    """Run s3s-fs, which checks keys and signatures, with a bucket; yield its address."""
    assert S3S is not None
    (root / "evidence").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [S3S, "--host", "127.0.0.1", "--port", str(port), "--access-key", KEY, "--secret-key", SECRET, str(root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _listens(port), 30, "s3s-fs")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class FaultyProxy:
    """Forwards HTTP requests to a store, and fails as it is told; used as a context manager."""

    def __init__(self, target: str, seed: int = 3) -> None:
        self._target = urlsplit(target)
        self._random = random.Random(seed)
        self.away = False
        """Whether connections are cut without an answer."""
        self.error_share = 0.0
        """Share of requests that are answered with 503."""
        self.delay_s = 0.0
        """How long each answer takes."""
        self.requests = 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                if proxy.away:
                    self.close_connection = True
                    return
                super().handle_one_request()

            def do_PUT(self) -> None:
                proxy._answer(self)

            do_GET = do_DELETE = do_HEAD = do_PUT  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        self.requests += 1
        if self.away:
            request.close_connection = True
            return
        time.sleep(self.delay_s)
        if self._random.random() < self.error_share:
            status, headers, answer = 503, [], b"<Error><Code>SlowDown</Code></Error>"
        else:
            connection = http.client.HTTPConnection(str(self._target.hostname), self._target.port, timeout=30)
            connection.request(request.command, request.path, body, dict(request.headers))
            answered = connection.getresponse()
            status, headers, answer = answered.status, answered.getheaders(), answered.read()
            connection.close()
        with contextlib.suppress(OSError):
            request.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    request.send_header(name, value)
            request.send_header("content-length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
