"""The ``sightline`` command, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

SIGHTLINE = Path(sys.executable).parent / "sightline"


def call(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    ours = ("SIGHTLINE_", "DETECTOR_", "KAFKA_", "INFERENCE_", "RAY_ADDRESS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [str(SIGHTLINE), *arguments],
        cwd=ROOT,
        env={**clean, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
