"""A normal stop: cameras first, what is in flight settled, no warning, one closing line, and soon."""

from __future__ import annotations

import json
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine_share import MachineShare
from tests.support.system import BIN, System, running
from tests.support.topic import TopicReader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
TOPIC = "events.detections"
SOON_S = 10.0
"""What a stop may take where nothing else runs on the machine."""
SERVE_RUN, UP = [str(BIN / "serve"), "run", "serve_config.yaml"], [str(BIN / "sightline"), "up"]
WAYS = [
    pytest.param(SERVE_RUN, signal.SIGINT, id="Ctrl-C of serve run"),
    pytest.param(UP, signal.SIGINT, id="Ctrl-C of sightline up"),
    pytest.param(UP, signal.SIGTERM, id="SIGTERM of sightline up, as a container gets it"),
]
CLOSING = re.compile(r"sightline: stopped; events published: (\d+), waiting in the spool: (\d+)")
_TERMINAL = re.compile(r"\b(?:WARNING|ERROR|CRITICAL)\b \d{4}-\d\d-\d\d .*")
"""A line of a logger of ours or Serve's; Ray's own lines begin with ``[`` and the time."""


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short:  # sockets' paths are limited
        yield Path(short)


def logged(ray_folder: Path) -> set[str]:
    """Return the warnings and errors in the log files of Serve's processes and ours."""
    found = set()
    for file in ray_folder.glob("ray/session_2*/logs/serve/*.log"):
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("{") and (entry := json.loads(line))["levelname"] in ("WARNING", "ERROR", "CRITICAL"):
                found.add(f"{file.name}: {entry['levelname']} {entry['message']}")
    return found


def has_seen_both_cameras(system: System) -> int:
    """Wait until both cameras' events arrive; return how many were read."""
    reader = TopicReader(system.broker(), TOPIC)
    records = reader.read(lambda read: len(read) >= 40 and len({record.key for record in read}) == 2, 180)
    reader.close()
    return len(records)


@pytest.mark.parametrize(("command", "number"), WAYS)
def test_a_normal_stop_settles_everything_warns_of_nothing_and_says_what_was_published(
    command: list[str], number: signal.Signals, tmp_path: Path, ray_folder: Path
):
    with running(command, tmp_path, RAY_USAGE_STATS_ENABLED="0", RAY_TMPDIR=str(ray_folder)) as system:
        system.broker()
        share = MachineShare(system)
        read = has_seen_both_cameras(system)
        left = share.now()  # measured before the stop: processes that have ended tell nothing of the time they took
        before, printed = logged(ray_folder), len(system.output)
        began = time.monotonic()
        assert system.interrupt(number=number) == 0
        took_s = time.monotonic() - began
        said = system.output[printed:]
        print(f"{took_s:.1f} s, with {left:.0%} of the machine\n{said}")
        closings = CLOSING.findall(said)
        assert len(closings) == 1, said
        assert int(closings[0][0]) >= read
        assert closings[0][1] == "0"
        assert [line for line in said.splitlines() if _TERMINAL.search(line)] == []
        assert logged(ray_folder) - before == set()
        assert took_s < SOON_S / left, f"{left:.0%} of the machine was left to it"
