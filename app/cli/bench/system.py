"""BenchSystem: a whole system on free ports, with a Ray cluster of its own, for the duration of a bench."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from app.cli.bench.plan import BenchPaths, BenchPlan, bench_environment, write_files
from app.cli.bench.processes import ProcessMeter
from app.cli.up import DIRECT, LOOPBACK, TUNED
from app.core.ports import free_port
from app.errors import BenchFailed, SightlineError
from app.settings.paths import ROOT
from app.web.client import ApiClient
from app.web.schemas import StatusModel

MARK = "BENCH_OF"
START_S = 240.0
"""Time-out until every camera's frames become events."""
END_S = 60.0
POLL_S = 0.5
_KEPT_LINES = 30


class BenchSystem:
    """A context manager: starts the system, and stops it without leaving processes or files.

    Raises:
        BenchFailed: it did not start.
    """

    def __init__(self, plan: BenchPlan, config: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._plan = plan
        self._folder = tempfile.TemporaryDirectory(prefix="sightline-bench-")
        folder = Path(self._folder.name)
        self._paths = BenchPaths(folder, grpc_port=free_port(), http_port=free_port())
        write_files(plan, config, self._paths)
        mark = uuid.uuid4().hex
        self._environment = {
            **bench_environment(environment),
            **LOOPBACK,
            **TUNED,
            **DIRECT,
            **_isolation(folder),
            MARK: mark,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]),
        }
        self._mark = f"{MARK}={mark}"
        self.meter = ProcessMeter(self._mark)
        self.client = ApiClient(f"http://127.0.0.1:{self._paths.http_port}")
        self._output: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._process: subprocess.Popen[str] | None = None

    @property
    def state(self) -> Path:
        """The folder that replaces the user's state directory."""
        return self._paths.folder / "state"

    def __enter__(self) -> BenchSystem:
        command = [sys.executable, "-m", "ray.serve.scripts", "run", str(self._paths.serve_config)]
        self._process = subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # the terminal's Ctrl-C reaches only this process, which ends it
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._wait_until_delivering()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def status(self, seconds: float | None = None) -> StatusModel:
        """Return its status; with ``seconds`` Kafka's latencies are of the events of the last so many seconds.

        Raises:
            BenchFailed: it ended, or no longer answers.
        """
        self._check_alive()
        try:
            return self.client.status(seconds)
        except SightlineError as error:
            raise BenchFailed(f"the system under load does not answer: {error}") from None

    def _wait_until_delivering(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            self._check_alive()
            with contextlib.suppress(SightlineError):
                if _delivers(self.client.status(), self._plan.cameras):
                    return
            time.sleep(POLL_S)
        raise BenchFailed(f"no system within {START_S:.0f} s; its output ends: {self._last_lines()}")

    def _check_alive(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise BenchFailed(
                f"the system ended with {self._process.returncode}; its output ends: {self._last_lines()}"
            )

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip():
                self._output.append(line.strip())

    def _last_lines(self) -> str:
        return " / ".join(list(self._output)[-5:]) or "nothing"

    def _end(self) -> None:
        """End it as Ctrl-C does; kill what does not end by itself."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        if not _until(lambda: not self.meter.read(), 10):
            for pid in self.meter.read():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._folder.cleanup()


def _delivers(status: StatusModel, cameras: int) -> bool:
    """Return whether a frame of every camera was accepted, and Kafka has events."""
    ledgers = [camera.ledger for camera in status.cameras]
    published = status.publisher.published if status.publisher else 0
    return len(ledgers) == cameras and published > 0 and all(ledger and ledger.accepted for ledger in ledgers)


def _isolation(folder: Path) -> dict[str, str]:
    """Return the variables that isolate it from a system that runs here already."""
    return {
        "RAY_ADDRESS": "local",  # a new cluster, whatever runs
        "XDG_STATE_HOME": str(folder / "state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
    }


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(0.2)
    return True
