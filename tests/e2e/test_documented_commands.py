"""Every command of the documents that asks or changes a running system, typed as it stands there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.documented_commands import IN_A_SECOND_SHELL, ON_A_CLUSTER, Typed
from tests.support.paths import ROOT
from tests.support.system import BIN, System, running
from tests.support.topic import TopicReader
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TOPIC = "events.detections"
COMMAND_S = 180.0
"""A command of Ray's loads for up to 20 s on two busy cores."""


def second_shell(state: Path, **more: str) -> dict[str, str]:
    """Return the environment of another shell of the same user: of Ray's variables it has none."""
    ours = ("SIGHTLINE_", "DETECTOR_", "KAFKA_", "INFERENCE_", "RAY_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**clean, "PATH": f"{BIN}:{os.environ['PATH']}", "XDG_STATE_HOME": str(state), **more}


def typed(command: Typed, environment: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """Type a command; return its exit status and all it printed."""
    shell = ["bash", "-c", f"exec env {command.line}" if command.until_ctrl_c else command.line]
    with subprocess.Popen(
        shell,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        if not command.until_ctrl_c:
            printed, _ = process.communicate(timeout=COMMAND_S)
            return process.returncode, printed
        if command.into:
            file = folder / command.into
            wait_for(lambda: file.exists() and re.search(command.prints, file.read_text()), COMMAND_S, command.line)
            process.send_signal(signal.SIGINT)
            return process.wait(COMMAND_S), file.read_text()
        assert process.stdout is not None
        end, lines = time.monotonic() + COMMAND_S, ""
        for line in process.stdout:
            lines += line
            if re.search(command.prints, lines) or time.monotonic() > end:
                break
        process.send_signal(signal.SIGINT)
        return process.wait(COMMAND_S), lines


def both_cameras_send(system: System) -> None:
    reader = TopicReader(system.broker(), TOPIC)
    reader.read(lambda read: len(read) >= 10 and len({record.key for record in read}) == 2, 240)
    reader.close()


def test_every_command_for_a_second_shell_does_what_its_document_says(tmp_path: Path):
    (tmp_path / "serve_config.yaml").write_text((ROOT / "serve_config.yaml").read_text())
    (tmp_path / "new.yaml").write_text((ROOT / "configs" / "rules.yaml").read_text())
    state = tmp_path / "state"
    with running([str(BIN / "serve"), "run", "serve_config.yaml"], state, RAY_USAGE_STATS_ENABLED="0") as system:
        both_cameras_send(system)
        system.wait_for_line("cameras 2/2 live", 120)
        wrong = {}
        for document, command in IN_A_SECOND_SHELL.items():
            status, printed = typed(command, second_shell(state), tmp_path)
            ended_as_it_should = status in ((0, 130) if command.until_ctrl_c else (0,))  # 130: by SIGINT
            if not ended_as_it_should or not re.search(command.prints, printed) or "Traceback" in printed:
                wrong[document] = (status, printed[-2_000:])
        assert wrong == {}
    assert {"seen.jpg", "x.jpg", "x.mp4"} <= {file.name for file in tmp_path.iterdir()}


def test_the_commands_for_a_cluster_that_runs_already_start_it_and_end_it(tmp_path: Path):
    *starting, ending = ON_A_CLUSTER
    (tmp_path / "home").mkdir()
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        # A cluster that is killed leaves its address in Ray's folder, and whatever starts Ray next would join it.
        environment = {"HOME": str(tmp_path / "home"), "RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        starts_and_ends(starting, ending, second_shell(tmp_path / "state", **environment), tmp_path / "state")


def starts_and_ends(starting: Sequence[str], ending: str, shell: Mapping[str, str], state: Path) -> None:
    script = "\n".join(["set -e", *starting, "echo all is typed", "sleep infinity"])
    with running(["bash", "-c", script], state, **shell) as system:
        system.wait_for_line("all is typed", 300)
        both_cameras_send(system)
        ours = ("CameraActor", "KafkaPublisher", "BrokerActor", "ServeReplica")
        assert all(any(name in line for line in system.survivors()) for name in ours)
        # The same shell goes on: what it exported holds.
        done, printed = typed(Typed(ending, ""), {**shell, "RAY_AUTH_MODE": "token"}, ROOT)
        assert done == 0, printed
        wait_for(
            lambda: not [line for line in system.survivors() if any(name in line for name in ours)],
            90,
            "the end of every actor",
        )
