"""Importing the package is cheap, and keeps Ultralytics from doing what nobody asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from app.detection import DetectorOptions, ImageOutcome
DetectorOptions(model="x.pt")
light = not ({"torch", "ultralytics", "cv2"} & set(sys.modules))
from app.detection import Detector
from app.detection.restraint import import_ultralytics
import_ultralytics()
import os, torch
from ultralytics import utils
from ultralytics.nn import tasks
from ultralytics.utils import checks, events
print(json.dumps({
    "light": light, "safe": tasks.SAFE_LOAD, "install": checks.AUTOINSTALL, "online": utils.ONLINE,
    "sync": utils.SETTINGS["sync"], "analytics": events.Events().enabled, "file": str(utils.SETTINGS.file),
    "threads": torch.get_num_threads(), "omp": os.environ.get("OMP_NUM_THREADS"),
}))
"""


@pytest.mark.parametrize("first", ["", "import ultralytics.nn.tasks\n"])
def test_ultralytics_is_restrained_also_where_it_was_imported_before(tmp_path: Path, first: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "ULTRALYTICS_"))}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("OMP_NUM_THREADS", None)
    environment.pop("XDG_CONFIG_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", first + PROGRAM], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["safe"] is True
    assert told["install"] is told["online"] is told["sync"] is told["analytics"] is False
    if not first:
        assert told["light"] is True
        assert told["omp"] is None
        assert told["threads"] > 1 or len(os.sched_getaffinity(0)) == 1
        assert told["file"].startswith(str(tmp_path / "cache"))
        assert not (tmp_path / ".config").exists()
        assert done.stderr == ""
