"""One broker of Apache Kafka, which a test may kill, halt and start again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.kafka_distribution import java

HOST = "127.0.0.1"
START_S = 90.0
"""How long a broker may take to come up on a busy machine; 5 to 7 s on a calm one."""


@dataclass(frozen=True)
class Listener:
    """One more listener of every broker, beside the plain one."""

    name: str
    protocol: str
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Of this listener alone, without the prefix ``listener.name.<name>.``."""


class Broker:
    """One broker, which is a controller as well; its log folder outlives its process."""

    def __init__(
        self,
        node: int,
        folder: Path,
        ports: Mapping[str, int],
        properties: Mapping[str, str],
        jvm: Sequence[str] = (),
    ) -> None:
        self.node = node
        self._jvm = jvm
        self._folder = folder
        self._ports = ports
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        lines = [f"{name}={value}" for name, value in properties.items()]
        self._properties = folder / "server.properties"
        self._properties.write_text("\n".join([*lines, ""]))
        self.output = folder / "output.txt"
        """What its process has printed."""

    def port(self, listener: str = "PLAINTEXT") -> int:
        """Return the port of a listener."""
        return self._ports[listener]

    def address(self, listener: str = "PLAINTEXT") -> str:
        """Return ``host:port`` of a listener."""
        return f"{HOST}:{self.port(listener)}"

    @property
    def pid(self) -> int:
        """The id of its process, which must run."""
        assert self._process is not None
        return self._process.pid

    def format(self, cluster_id: str, scram: Sequence[str]) -> None:
        """Make its folders ready, with SCRAM users such as ``SCRAM-SHA-512=[name=ann,password=secret]``."""
        users = [part for user in scram for part in ("--add-scram", user)]
        command = java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties), *users)
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
        if done.returncode:
            raise RuntimeError(f"StorageTool of broker {self.node} failed: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start its process; it does not wait for it to answer."""
        assert self._process is None
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                java("kafka.Kafka", str(self._properties), jvm=self._jvm),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it was started, and not ended since."""
        return self._process is not None

    def check(self) -> None:
        """Raise with what it printed, where its process has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"broker {self.node} ended: {self.output.read_text()[-4000:]}")

    def kill(self) -> None:
        """End its process at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def shut_down(self) -> None:
        """End its process in good order: it hands its partitions over first."""
        self._end(signal.SIGTERM)

    def hang(self) -> None:
        """Halt its process: its connections stay, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a halted process run again."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, by: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(by)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
