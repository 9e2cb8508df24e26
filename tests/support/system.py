"""A running system, started and ended as its user would, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.waiting import wait_for

BIN = Path(sys.executable).parent
_OURS = ("SIGHTLINE_", "DETECTOR_", "KAFKA_", "INFERENCE_", "RAY_")


class System:
    """One process of ours, its output and everything that was started below it."""

    def __init__(self, command: list[str], state: Path, environment: Mapping[str, str], folder: Path = ROOT) -> None:
        self._mark = uuid.uuid4().hex
        self.state = state
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**clean, **environment, "XDG_STATE_HOME": str(state), "SYSTEM_MARK": self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return "".join(self._lines)

    def wait_for_line(self, text: str, timeout_s: float = 120.0) -> str:
        """Wait until it prints a line that has this text, and return the line."""

        def find() -> str | None:
            if self.has_ended:
                raise AssertionError(f"it ended with {self._process.returncode}:\n{self.output}")
            return next((line for line in self._lines if text in line), None)

        try:
            return wait_for(find, timeout_s, f"a line with {text!r}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; it printed:\n{self.output}") from None

    def broker(self, timeout_s: float = 180.0) -> str:
        """Wait for the embedded broker, and return its address."""
        return self.wait_for_broker(self.state / "sightline" / "broker.json", timeout_s)

    def wait_for_broker(self, announcement: Path, timeout_s: float = 180.0) -> str:
        """Wait for the embedded broker that is announced in a file, and return its address."""

        def address() -> str | None:
            if self.has_ended:
                raise AssertionError(f"it ended with {self._process.returncode}:\n{self.output}")
            with contextlib.suppress(OSError, ValueError):
                return str(json.loads(announcement.read_text())["address"])
            return None

        return wait_for(address, timeout_s, "the embedded broker")

    def interrupt(self, timeout_s: float = 90.0, number: signal.Signals = signal.SIGINT) -> int:
        """Press Ctrl-C once, or send another signal; return the exit status."""
        self._process.send_signal(number)
        status = self._process.wait(timeout_s)
        self._reader.join(5)
        return status

    def survivors(self) -> list[str]:
        """Return the command lines of the processes that were started below it and still run."""
        return list(self._below().values())

    def processes(self, kind: str) -> list[int]:
        """Return the ids of those processes below it whose title names a kind of actor, replica or program."""
        return [pid for pid, title in self._below().items() if kind in title]

    def programs(self, name: str) -> list[int]:
        """Return the ids of those processes below it that are a program of this name."""
        return [pid for pid, title in self._below().items() if Path(title.split(" ")[0]).name == name]

    def cpu_s(self) -> float:
        """Return the seconds of processor time that the running processes below it have used."""
        ticks = 0
        for pid in self._below():
            with contextlib.suppress(OSError):
                # Behind the name, which may hold anything: utime and stime (proc_pid_stat(5)).
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def _below(self) -> dict[int, str]:
        found = {}
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and f"SYSTEM_MARK={self._mark}".encode() in (
                    process / "environ"
                ).read_bytes().split(b"\0"):
                    title = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(process.name)] = title
        return found

    def end(self) -> None:
        """End it and all it started, however it is."""
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.interrupt(60)
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and self._mark.encode() in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
        self._process.wait(10)


@contextlib.contextmanager
def running(command: list[str], state: Path, folder: Path = ROOT, /, **environment: str) -> Iterator[System]:
    """Start a system in a folder, and see to it that nothing is left whatever the test does."""
    system = System(command, state, environment, folder)
    try:
        yield system
    finally:
        system.end()


def listening(port: int) -> bool:
    """Return whether something takes connections on a port of this machine."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    return False
