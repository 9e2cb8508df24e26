"""Importing the package is cheap, and keeps Ultralytics from doing what nobody asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.idle

PROGRAM = """
import json, sys
from app.detection import DetectorOptions, ImageOutcome
DetectorOptions(model="x.pt")
light = not ({"torch", "ultralytics", "cv2"} & set(sys.modules))
from app.detection import Detector
from app.detection.ultralytics_guard import import_ultralytics
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


@pytest.mark.parametrize("first", ["", pytest.param("import ultralytics.nn.tasks\n", marks=pytest.mark.slow)])
def test_ultralytics_is_restrained_also_where_it_was_imported_before(tmp_path: Path, first: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "ULTRALYTICS_"))}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("OMP_NUM_THREADS", None)
    environment.pop("XDG_CONFIG_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", first + PROGRAM], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout.splitlines()[-1])
    assert reported["safe"] is True
    assert reported["install"] is reported["online"] is reported["sync"] is reported["analytics"] is False
    if not first:
        assert reported["light"] is True
        assert reported["omp"] is None
        assert reported["threads"] > 1 or len(os.sched_getaffinity(0)) == 1
        assert reported["file"].startswith(str(tmp_path / "cache"))
        assert not (tmp_path / ".config").exists()
        assert done.stderr == ""


WATCHED = """
import json, sys
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        seen.append([event, str(arguments[1:] if event.startswith("socket.conn") else arguments)])
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        seen.append([event, str(arguments)])
sys.addaudithook(watch)
from app.detection import Detector, DetectorOptions
from app.errors import ModelUnavailable
from app.settings.paths import DEMO_MODEL
if sys.argv[1:] == ["work"]:
    detector = Detector(DetectorOptions(str(DEMO_MODEL), device="cpu"))
    detector.warm_up()
    reported = detector.model_name
    detector.close()  # its threads wait for work, and would be waited for below
else:
    reported = []
for model in sys.argv[2:]:
    try:
        Detector(DetectorOptions(model, device="cpu"))
    except ModelUnavailable as error:
        reported.append(str(error))
import threading
for thread in threading.enumerate():  # what was to be sent in the background has been sent
    if thread is not threading.current_thread():
        thread.join(5)
print(json.dumps({"reported": reported, "seen": seen}))
"""


def watched(folder: Path, *arguments: str) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "ULTRALYTICS_"))}
    environment |= {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_model_is_loaded_and_run_without_a_word_to_the_network(tmp_path: Path) -> None:
    found = watched(tmp_path, "work")
    assert found["reported"] == "street.pt"
    assert [one for one in found["seen"] if one[0].startswith("socket")] == []
    assert not [one for one in found["seen"] if "pip" in one[1] or "uv" in one[1]]


@pytest.mark.slow
def test_a_model_whose_package_is_missing_is_refused_and_nothing_is_installed(tmp_path: Path) -> None:
    folder = tmp_path / "some_openvino_model"
    folder.mkdir()
    (folder / "some.xml").write_text("<net/>")
    (tmp_path / "some.engine").write_bytes(b"\0" * 64)
    found = watched(tmp_path, "refuse", str(folder), str(tmp_path / "some.engine"))
    for reported, package in zip(found["reported"], ("openvino", "tensorrt"), strict=True):
        assert package in reported
    assert not [one for one in found["seen"] if "pip" in one[1] or one[0].startswith("socket")]


SETTINGS_FOLDER = """
import os
import app.detection
from app.detection.ultralytics_guard import guard_ultralytics
guard_ultralytics()
folder = os.environ["YOLO_CONFIG_DIR"]
print(folder, os.access(folder, os.W_OK))
"""


def test_where_the_cache_cannot_be_written_ultralytics_keeps_its_settings_in_a_folder_of_the_process(tmp_path: Path):
    (tmp_path / "file").touch()  # nothing can be made below it, not even by root
    environment = {key: value for key, value in os.environ.items() if not key.startswith("YOLO_")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "file" / "cache"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS_FOLDER], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    folder, writable = done.stdout.split()
    assert Path(folder).parent == tmp_path
    assert writable == "True"
    assert not Path(folder).exists()  # gone with the process
