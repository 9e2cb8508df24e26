"""Records the metrics of a running system: ``python -m tests.e2e.record_metrics``.

Starts the system as shipped, on free ports, waits until every metric that a rule or a panel asks for is there, and
writes ``tests/io/prometheus/metrics.prom``.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from app.core.ports import free_ports
from tests.support.http_server import HttpServer
from tests.support.metrics_recording import RECORDING, names_asked_for, record
from tests.support.system import BIN, running
from tests.support.waiting import wait_for
from tests.support.watched_system import Watched, apart, on_ports


def main(folder: Path) -> None:
    """Start, read, write, end."""
    grpc_port, http_port = free_ports(2)
    config = on_ports(folder, grpc_port, http_port)
    shell = apart(folder, grpc_port)
    asked = names_asked_for()
    with HttpServer() as source, running([str(BIN / "serve"), "run", str(config)], folder, **shell) as system:
        watched = Watched(system, config, f"http://127.0.0.1:{http_port}", folder / "ray" / "ray", source)
        system.wait_for_line("events/s", 240)

        def missing() -> set[str]:
            exposition = watched.metrics()
            return {name for name in asked if f"\n{name}{{" not in exposition}

        with contextlib.suppress(TimeoutError):
            wait_for(lambda: not missing(), 120)
        if away := missing():
            sys.exit(f"not there after two minutes: {', '.join(sorted(away))}")
        recording = record(watched.metrics(), asked)
        system.interrupt()
    RECORDING.write_text(recording)
    print(f"{RECORDING}: {len(recording.splitlines())} samples of {len(asked)} metrics")


if __name__ == "__main__":
    work = Path(tempfile.mkdtemp(prefix="slm", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    try:
        main(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
