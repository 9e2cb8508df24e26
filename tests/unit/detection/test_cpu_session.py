"""Graphs may be called by several threads from their first picture on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

_FOLDER = ROOT / "configs" / "models" / "street_openvino_model"
_TOGETHER = """
import sys, threading
from pathlib import Path
import numpy as np
from app.detection.cpu_session import OnnxSession, OpenVinoSession

sys.setswitchinterval(1e-6)  # any two threads may meet anywhere
file, size = Path(sys.argv[1]), int(sys.argv[2])
graph = OnnxSession(file, 4) if file.suffix == ".onnx" else OpenVinoSession(file, 4, True)
start = threading.Barrier(4)
answers = []

def first():
    picture = np.zeros((size, size, 3), np.uint8)
    start.wait()
    answers.append(graph.run_on_one_core(picture).shape)

threads = [threading.Thread(target=first) for _ in range(4)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(len(answers), len(set(answers)))
"""


@pytest.mark.parametrize("kind", ["OpenVINO", "ONNX"])
def test_the_first_pictures_of_a_process_may_come_from_all_threads_at_once(kind: str, models: dict[str, Path]) -> None:
    file, size = (_FOLDER, 640) if kind == "OpenVINO" else (models["yolo11-dynamic.onnx"], 320)
    # Of a process of its own: where it goes wrong, no thread of Python runs again, nor would this test's time limit.
    done = subprocess.run(
        [sys.executable, "-c", _TOGETHER, str(file), str(size)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.stdout.split() == ["4", "1"]
