"""A Ray of a program's own, apart from others on the machine; and tests that run such a program."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from tests.support.paths import ROOT


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Keep what Ray writes to itself, and its address above all: killed, a cluster would leave it behind for others.

    Without it every ``ray.init()`` of this machine would join that cluster. Before Ray is imported.
    """
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        os.environ.update({"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"})
        yield


def reported_by(program: str, *arguments: str, timeout_s: float) -> Any:
    """Run a program of ``tests/endurance`` in a process of its own; return the JSON document that it prints last."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.endurance.{program}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=timeout_s,
    )
    return json.loads(done.stdout.splitlines()[-1])
